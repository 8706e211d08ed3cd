import type { OpenStorage } from '@syncline/client'
import {
  decodeFrame,
  encodeFrame,
  isBatch,
  joinBatch,
  splitBatch,
  type Frame,
  type ServerMessage,
} from '@syncline/protocol'
import type { Wrappers } from './world-options.ts'

/** The ports that misbehave, by the name of their mutant. */
export const WRAPPERS: Readonly<Record<string, Wrappers>> = {
  'ack-before-flush': {
    serverStorage: (storage) => ({
      ...storage,
      write: async (batch) => {
        storage.write(batch).catch(() => {})
        return { ok: true, seq: batch.seq }
      },
    }),
  },
  'seq-reused': {
    serverStorage: (storage) => ({
      ...storage,
      get: (key) => (key.endsWith('reserved') ? Promise.resolve(null) : storage.get(key)),
    }),
  },
  'lost-ranges-untold': {
    fromServer: (frame) =>
      changeMessages(frame, (message) =>
        message.type === 'SYNC_DIFF' ? { ...message, payload: { ...message.payload, lost: [] } } : message,
      ),
  },
  'slow-follower-skips': {
    fromServer: (frame, { bufferedBytes }) =>
      bufferedBytes < 400
        ? frame
        : changeMessages(frame, (message) =>
            message.type === 'SERVER_BATCH_EVENT'
              ? { ...message, payload: { ...message.payload, events: message.payload.events.slice(1) } }
              : message,
          ),
  },
  'cursor-before-records': { clientStorage: cursorFirst },
}

/** Applies a change to every message of a frame. */
function changeMessages(frame: Frame, change: (message: ServerMessage) => ServerMessage): Frame {
  const decoded = decodeFrame(frame)
  if (!decoded.ok) return frame
  const { encoding, message } = decoded.value
  if (!isBatch(message)) return encodeFrame(encoding, change(message as ServerMessage))
  const batch = splitBatch(message)
  return batch.ok ? joinBatch(batch.value.map((bytes) => changeMessages(bytes, change) as Uint8Array)) : frame
}

function cursorFirst(storage: OpenStorage): OpenStorage {
  return {
    ...storage,
    transaction: async (mode, work) => {
      const cursors: [readonly [string, string], unknown][] = []
      await storage.transaction(mode, (tx) =>
        work({
          ...unbound(tx),
          put(store, key, value) {
            if (store === 'cursors') cursors.push([key, value])
          },
          delete() {},
          clear() {},
        }),
      )
      if (cursors.length > 0) {
        await storage.transaction('readwrite', async (tx) => {
          for (const [key, value] of cursors) tx.put('cursors', key, value)
        })
      }
      return storage.transaction(mode, work)
    },
  }
}

type Transaction = Parameters<Parameters<OpenStorage['transaction']>[1]>[0]

function unbound(tx: Transaction): Transaction {
  return {
    get: (store, key) => tx.get(store, key),
    entries: (store, first) => tx.entries(store, first),
    put: (store, key, value) => tx.put(store, key, value),
    delete: (store, key) => tx.delete(store, key),
    clear: (store, first) => tx.clear(store, first),
  }
}
