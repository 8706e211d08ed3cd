import type { Env } from '@syncline/core'
import type { StorageAdapter, StorageState } from '@syncline/storage'

/** A key of the storage's values. */
const KEY = 'syncline.secret'

/** The secret of a database, made when it is first opened and kept since; of one in memory it ends with the process. */
export async function secretOf(
  env: Pick<Env, 'uniqueId'>,
  storage: StorageAdapter | undefined,
  state: StorageState | undefined,
): Promise<string> {
  const fresh = `${env.uniqueId()}${env.uniqueId()}`
  if (storage === undefined || state === undefined) return fresh
  const stored = await storage.get(KEY)
  if (typeof stored === 'string') return stored
  await storage.write({ records: [], seq: state.durableSeq, values: { [KEY]: fresh } })
  return fresh
}
