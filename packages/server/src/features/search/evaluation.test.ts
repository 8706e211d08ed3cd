import { wholeWrite, type Value } from '@syncline/core'
import { expect, test } from 'vitest'
import { nodeEnv } from '../../env.ts'
import { Authorizer, type ReadView } from '../../inbound/authorize.ts'
import { WritableMap } from '../../store/writable-map.ts'
import { stampAt } from '../../testing/harness.ts'
import { compileSearch } from './compile.ts'
import { LiveSearch } from './live-search.ts'
import { MapIndex } from './map-index.ts'

function drain(work: Generator): void {
  for (const _ of work);
}

test('[FT5] what changes while a search is made, or made anew, is in its result', () => {
  const map = new WritableMap('notes')
  let seq = 0
  const write = (key: string, value: Value): void => {
    const stamp = stampAt()
    const record = wholeWrite(value, stamp)
    map.advance(map.entriesByKey.get(key) ?? map.blank(key, record, stamp), record, ++seq, stamp)
  }
  const note = (i: number): Value => ({ title: i % 3 === 0 ? 'milk and bread' : 'milk' })
  for (let i = 0; i < 4_000; i++) write(`k${i}`, note(i))
  const view = new Authorizer(undefined, true).rights({ userId: 'u', roles: [] }, 'notes').view as ReadView
  const compiled = compileSearch({ fields: ['title'] }, view, 'milk', { limit: 20 })
  if (!compiled.ok) throw new Error(compiled.error.message)
  const live: LiveSearch[] = []
  const index = new MapIndex(map, view, compiled.value.columns, nodeEnv('error'), (_, changes) => {
    for (const search of live) search.apply(changes)
  })
  drain(index.build())
  const search = new LiveSearch(index, compiled.value)
  live.push(search)
  for (let round = 0; round < 2; round++) {
    const work = search.evaluate()
    let steps = 0
    for (let done = work.next().done; done !== true; done = work.next().done) {
      const at = round * 200 + steps++
      write(`k${at}`, { title: 'bread' })
      write(`k${3_999 - at}`, null)
      write(`new${at}`, { title: 'milk milk' })
      index.learn()
      drain(index.catchUp())
    }
    expect(steps).toBeGreaterThan(4)
    const fresh = new LiveSearch(index, compiled.value)
    drain(fresh.evaluate())
    expect(search.totalCount).toBe(fresh.totalCount)
    expect(search.rows().map(({ key }) => key)).toEqual(fresh.rows().map(({ key }) => key))
  }
})
