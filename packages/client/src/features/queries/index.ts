import type { QuerySpec } from '@syncline/core'
import { SynclineError } from '../../errors.ts'
import type { Feature, Kernel } from '../../feature.ts'
import { waitFor } from '../../readable.ts'
import type { AskServer } from './handle.ts'
import type { Row } from './state.ts'

/** A question on its way to the server. */
interface Question {
  readonly mapName: string
  readonly query: QuerySpec
  readonly fields: readonly string[] | undefined
  rows: Row<unknown>[]
  readonly resolve: (rows: readonly Row<unknown>[]) => void
  readonly reject: (error: unknown) => void
}

/** Queries that the server answers once. Live queries need no messages: whole maps are followed. */
export function queries(kernel: Kernel): Feature & { readonly ask: AskServer } {
  const questions = new Map<string, Question>()
  let lastId = 0

  function send(queryId: string, question: Question): void {
    question.rows = []
    if (!kernel.isOnline) return
    const { mapName, query, fields, reject } = question
    const payload = { queryId, mapName, query, ...(fields === undefined ? {} : { fields }) }
    kernel.send({ type: 'QUERY_SUB', payload }, reject)
  }

  const ask: AskServer = (mapName, query, fields, options) => {
    const queryId = `q${++lastId}`
    const onTimeout = (): Error => new SynclineError('TIMEOUT', 'The server did not answer in time.')
    return waitFor(kernel.env, options, onTimeout, (resolve, reject) => {
      const fail = (code: 'CLOSED' | 'OFFLINE', message: string): void => reject(new SynclineError(code, message))
      if (kernel.turn.isClosed) fail('CLOSED', 'The client is closed.')
      else if (!kernel.hasServer) fail('OFFLINE', 'This client has no server: give it a url.')
      const question = { mapName, query, fields, rows: [], resolve, reject }
      questions.set(queryId, question)
      const stop = kernel.turn.onClose(() => fail('CLOSED', 'The client was closed.'))
      send(queryId, question)
      return () => {
        stop()
        if (questions.delete(queryId) && kernel.isOnline) kernel.send({ type: 'QUERY_UNSUB', payload: { queryId } })
      }
    })
  }

  return {
    ask,
    online() {
      for (const [queryId, question] of questions) send(queryId, question)
    },
    handlers: {
      QUERY_RESP({ payload: { queryId, results, more } }) {
        const question = questions.get(queryId)
        if (question === undefined) return
        for (const { key, value } of results) question.rows.push({ key, value, sync: 'synced' })
        if (more !== true) question.resolve(question.rows)
      },
    },
  }
}
