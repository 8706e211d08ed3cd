import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeStorageContract } from '../testing/contract.ts'
import { sqliteStorage } from './index.ts'

let folder: string
let count = 0

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'syncline-contract-'))
})

afterAll(() => {
  rmSync(folder, { recursive: true })
})

const path = () => join(folder, `${count}.db`)

describeStorageContract('sqlite', {
  create() {
    count++
    return sqliteStorage({ path: path() })
  },
  reopen: () => sqliteStorage({ path: path() }),
})

it('promises durability only where every commit is flushed', () => {
  expect(sqliteStorage({ path: path() }).durable).toBe(true)
  expect(sqliteStorage({ path: path(), testing: { synchronous: 'normal' } }).durable).toBe(false)
})
