// Writes batches into the database named on the command line and prints the seq of each that is written, until killed.
import { writeSync } from 'node:fs'
import { sqliteStorage } from '../src/sqlite/index.ts'
import { batchOf } from './killed-batch.ts'

const storage = sqliteStorage({ path: process.argv[2] as string })
const { durableSeq } = await storage.open('killed')

let seq = durableSeq
const writeForever = async (): Promise<never> => {
  for (;;) {
    const result = await storage.write(batchOf(++seq))
    writeSync(1, `${result.ok ? result.seq : 'refused'}\n`)
  }
}
await Promise.all([writeForever(), writeForever(), writeForever(), writeForever()])
