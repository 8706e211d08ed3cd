import { memory, type StorageAdapter } from '../src/index.ts'

/** A storage that cannot be written while it is told so: not at all, or only a mark has room. */
export interface FailingStorage extends StorageAdapter {
  fault: 'broken' | 'full' | undefined
}

/** Makes one, which works at first. */
export function failingStorage(): FailingStorage {
  const storage = memory()
  const self: FailingStorage = {
    fault: undefined,
    id: storage.id,
    async open() {
      const opened = await storage.open()
      return {
        ...opened,
        async transaction(mode, work) {
          if (self.fault === 'broken' && mode === 'readwrite') throw new Error('The disk fails.')
          return opened.transaction(mode, (tx) =>
            work({
              ...tx,
              put(store, key, value) {
                if (self.fault === 'full' && store !== 'meta') {
                  throw Object.assign(new Error('The disk is full.'), { name: 'QuotaExceededError' })
                }
                tx.put(store, key, value)
              },
            }),
          )
        },
      }
    },
  }
  return self
}
