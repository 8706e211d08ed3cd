import type { Value } from '@syncline/core'
import { queryShapes, type QuerySub } from '@syncline/protocol/codec'
import { SynclineError, anotherUser, clientClosed } from '../../errors.ts'
import type { Kernel } from '../../feature.ts'
import type { LateFeature } from '../../late.ts'
import { waitFor, type WaitOptions } from '../../readable.ts'
import { Selection } from './handle.ts'
import type { Question } from './index.ts'
import { comesAfter } from './place.ts'
import type { Row } from './state.ts'

type Payload = QuerySub['payload']

/** A question on its way to the server. */
interface Asking {
  readonly payload: Payload
  rows: Row<unknown>[]
  readonly resolve: (rows: readonly Row<unknown>[]) => void
  readonly reject: (error: unknown) => void
}

/** Queries that the server answers once. */
export function start(kernel: Kernel): LateFeature<Question, Promise<readonly Row<unknown>[]>> {
  const askings = new Map<string, Asking>()
  let lastId = 0

  function send(asking: Asking): void {
    asking.rows = []
    if (kernel.isOnline) kernel.send({ type: 'QUERY_SUB', payload: asking.payload }, asking.reject)
  }

  function ask(payload: Payload, options: WaitOptions): Promise<readonly Row<unknown>[]> {
    const { queryId } = payload
    const onTimeout = (): Error => new SynclineError('TIMEOUT', 'The server did not answer in time.')
    return waitFor(kernel.env, options, onTimeout, (resolve, reject) => {
      if (!kernel.hasServer) reject(new SynclineError('OFFLINE', 'This client has no server: give it a url.'))
      const asking = { payload, rows: [], resolve, reject }
      askings.set(queryId, asking)
      const stop = kernel.turn.onClose(() => reject(clientClosed()))
      send(asking)
      return () => {
        stop()
        if (askings.delete(queryId) && kernel.isOnline) kernel.send({ type: 'QUERY_UNSUB', payload: { queryId } })
      }
    })
  }

  return {
    shapes: queryShapes,
    handlers: {
      QUERY_RESP({ payload: { queryId, results, more } }) {
        const asking = askings.get(queryId)
        if (asking === undefined) return
        for (const { key, value } of results) asking.rows.push({ key, value, sync: 'synced' })
        if (more !== true) asking.resolve(asking.rows)
      },
    },
    online() {
      for (const asking of askings.values()) send(asking)
    },
    userChanged() {
      for (const { reject } of askings.values()) reject(anotherUser())
    },
    async open(mapName, { query, after, select, ...options }) {
      if (kernel.turn.isClosed) throw clientClosed()
      const queryId = `q${++lastId}`
      if (after === undefined) {
        return ask({ queryId, mapName, query, ...(select === undefined ? {} : { fields: select }) }, options)
      }
      // The server knows no places but its own: the rows before one are asked for as well, and left out here.
      const { limit = 0, ...whole } = query
      const isAfter = comesAfter(query, after)
      const rows = await ask({ queryId, mapName, query: whole }, options)
      const page = rows.filter(({ key, value }) => isAfter(key, value as Value)).slice(0, limit || Infinity)
      return select === undefined ? page : new Selection(select).of(page)
    },
  }
}
