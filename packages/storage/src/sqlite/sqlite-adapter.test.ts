import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { StorageAdapter } from '../adapter.ts'
import { describeStorageContract } from '../testing/contract.ts'
import { sqliteStorage } from './index.ts'
import { sqliteAdapter } from './sqlite-adapter.ts'

let folder: string
let count = 0

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'syncline-contract-'))
})

afterAll(() => {
  rmSync(folder, { recursive: true })
})

const path = () => join(folder, `${count}.db`)

const workers = new Map<StorageAdapter, Worker[]>()

function storageOf(): StorageAdapter {
  const started: Worker[] = []
  const storage = sqliteAdapter({ path: path(), synchronous: 'full', maxPageCount: undefined }, () => {
    const worker = new Worker(new URL('./worker.ts', import.meta.url))
    started.push(worker)
    return worker
  })
  workers.set(storage, started)
  return storage
}

describeStorageContract('sqlite', {
  create() {
    count++
    return storageOf()
  },
  reopen: storageOf,
  breakDown: (storage) => workers.get(storage)?.at(-1)?.terminate(),
})

it('promises durability only where every commit is flushed', () => {
  expect(sqliteStorage({ path: path() }).durable).toBe(true)
  expect(sqliteStorage({ path: path(), testing: { synchronous: 'normal' } }).durable).toBe(false)
})
