import type { Shapes } from '../server-message.ts'

/** The messages by which a server answers who searches. */
export const searchShapes: Shapes = {
  flat: {},
  payload: {
    SEARCH_RESP:
      'requestId:s totalCount:n error:s? errorCode:s? details:m? more:b? version:n? results:[key:s,value:v,score:n,matchedTerms:S]',
    SEARCH_UPDATE: 'subscriptionId:s key:s value:v score:n matchedTerms:S changeType:s totalCount:n? version:n?',
  },
}
