// Writes records until the storage fails and prints what it met, as one line of JSON. For runs under `ulimit -f`.
import { writeSync } from 'node:fs'
import { StorageError } from '../src/adapter.ts'
import { sqliteStorage } from '../src/sqlite/index.ts'
import { storedRecord } from '../src/testing/samples.ts'

const storage = sqliteStorage({ path: process.argv[2] as string })
await storage.open('filled')

const faultOf = async (call: Promise<unknown>): Promise<string> => {
  try {
    await call
    return 'none'
  } catch (error) {
    return error instanceof StorageError ? error.fault : String(error)
  }
}

let written = 0
let fault = 'none'
for (let seq = 1; fault === 'none' && seq < 500; seq++) {
  const records = Array.from({ length: 10 }, (_, i) => storedRecord('m', `${seq}/${i}`, seq, 'x'.repeat(5000)))
  fault = await faultOf(storage.write({ seq, records }))
  if (fault === 'none') written = seq
}
const after = [
  await faultOf(storage.write({ seq: written + 1, records: [] })),
  await faultOf(storage.get('a')),
  await faultOf(storage.changesSince('m', 0, 1)),
  await faultOf(storage.close()),
]
writeSync(1, JSON.stringify({ written, fault, after }))
