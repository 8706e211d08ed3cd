import type { Shapes } from '../server-message.ts'

/** The message by which a server answers a query. */
export const queryShapes: Shapes = {
  flat: {},
  payload: {
    QUERY_RESP: 'queryId:s hasMore:b? nextCursor:s? cursorStatus:s? more:b? version:n? results:[key:s,value:v]',
  },
}
