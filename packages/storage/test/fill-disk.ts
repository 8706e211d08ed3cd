// Writes records until the storage fails and prints what it met, as one line of JSON. For runs under `ulimit -f`. With
// milliseconds as the second argument it rests that long after each write, so that what fails then fails unasked.
import { writeSync } from 'node:fs'
import { StorageError } from '../src/adapter.ts'
import { sqliteStorage } from '../src/sqlite/index.ts'
import { storedRecord } from '../src/testing/samples.ts'

const storage = sqliteStorage({ path: process.argv[2] as string })
const restMs = Number(process.argv[3] ?? 0)
const fatal: string[] = []
let isAsking = false
await storage.open('filled', (error) => fatal.push(`${error.fault}, ${isAsking ? 'asked' : 'unasked'}`))

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
for (let seq = 1; fault === 'none' && fatal.length === 0 && seq < 500; seq++) {
  const records = Array.from({ length: 10 }, (_, i) => storedRecord('m', `${seq}/${i}`, seq, 'x'.repeat(5000)))
  isAsking = true
  fault = await faultOf(storage.write({ seq, records }))
  isAsking = false
  if (fault === 'none') written = seq
  if (restMs > 0) await new Promise((resolve) => setTimeout(resolve, restMs))
}
const after = [
  await faultOf(storage.write({ seq: written + 1, records: [] })),
  await faultOf(storage.get('a')),
  await faultOf(storage.changesSince('m', 0, 1)),
  await faultOf(storage.close()),
]
writeSync(1, JSON.stringify({ written, fault, fatal, after }))
