import { expect, test } from 'vitest'
import type { Session } from '../sessions/session.ts'
import { ResultFollower, ResultPages, type RowChanged } from './result-follower.ts'

/** A result of numbered versions, whose pages of changes hold two rows. */
class Result extends ResultFollower<RowChanged, number> {
  readonly sent: string[] = []
  readonly rows = new Set<string>()
  version = 0
  results = 0
  protected maxMissed = 4

  change(key: string, changeType: RowChanged['changeType']): void {
    if (changeType === 'LEAVE') this.rows.delete(key)
    else this.rows.add(key)
    this.version++
    this.tell([{ key, changeType }])
  }

  protected closing(): number {
    return this.version
  }

  protected changeOf(key: string, isKnown: boolean): RowChanged | undefined {
    if (this.rows.has(key)) return { key, changeType: isKnown ? 'UPDATE' : 'ENTER' }
    return isKnown ? { key, changeType: 'LEAVE' } : undefined
  }

  protected sendChanges(changes: readonly RowChanged[], from: number, closing: number): number {
    const to = Math.min(changes.length, from + 2)
    for (const { key, changeType } of changes.slice(from, to)) this.sent.push(`${changeType} ${key}`)
    if (to === changes.length && to > from) this.sent.push(`v${closing}`)
    return to
  }

  protected sendResult(): void {
    this.results++
  }
}

function start() {
  const outbox = { isDraining: false, pull: () => {} }
  const session = { id: 's', outbox, send: () => {}, close: () => {} } as unknown as Session
  const result = new Result({ log: () => {} }, session, 'm')
  result.pump()
  return { result, outbox }
}

test('INV-22: who is slow is told the net change, of the version at which it was taken', () => {
  const { result, outbox } = start()
  result.change('a', 'ENTER')
  expect(result.sent.splice(0)).toEqual(['ENTER a', 'v1'])
  outbox.isDraining = true
  for (const key of ['b', 'c', 'd']) result.change(key, 'ENTER')
  result.change('b', 'LEAVE')
  result.change('a', 'LEAVE')
  expect(result.pump()).toBe(true)
  expect(result.sent.splice(0)).toEqual(['LEAVE a', 'ENTER c'])
  // What comes now is not in the pages that are still to leave.
  result.change('c', 'UPDATE')
  expect(result.pump()).toBe(true)
  expect(result.sent.splice(0)).toEqual(['ENTER d', 'v6'])
  expect(result.pump()).toBe(false)
  expect(result.sent.splice(0)).toEqual(['UPDATE c', 'v7'])
  outbox.isDraining = false
  result.change('d', 'UPDATE')
  expect(result.sent).toEqual(['UPDATE d', 'v8'])
})

test('INV-22: who misses more than it may gets the result anew, and nothing once it has ended', () => {
  const { result, outbox } = start()
  outbox.isDraining = true
  for (const key of ['a', 'b', 'c', 'd', 'e']) result.change(key, 'ENTER')
  expect([result.pump(), result.results, result.sent]).toEqual([false, 1, []])
  let taken = 0
  const pages = new ResultPages(result, function* () {
    result.begin()
    taken++
    yield { type: 'PONG', timestamp: 0, serverTime: 0 }
  })
  result.change('b', 'LEAVE')
  expect([pages.pump(), pages.pump(), taken]).toEqual([true, false, 1])
  result.change('f', 'ENTER')
  expect([result.pump(), result.sent.splice(0)]).toEqual([false, ['ENTER f', 'v7']])
  result.end()
  expect([result.pump(), pages.pump()]).toEqual([false, false])
})
