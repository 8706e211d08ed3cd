import { expect, test } from 'vitest'
import { World } from '../test/virtual-env.ts'
import { SynclineError } from './errors.ts'
import type { Kernel } from './feature.ts'
import { code } from './code.ts'
import { Late, lateGroups, type LateDefinition } from './late.ts'
import type { LocalWrite, Write } from './offline/write.ts'
import { Source, Turn, type Readable, type Unsubscribe } from './readable.ts'
import { answers, members, opens, promises, readable, runs, stops, streams, writes } from './stand-in.ts'

interface Toy extends Readable<number> {
  say(word: string): void
  ask(word: string): Promise<string>
  listen(callback: (word: string) => void): Unsubscribe
  stream(): AsyncIterableIterator<string>
  has(word: string): boolean
  add(word: string, options?: { readonly loud?: boolean }): Write
  readonly inner: { shout(word: string): void }
}

type Rooms = (room: string) => Toy

/** A client's side of a feature whose code comes when the test says so. */
function toy() {
  const world = new World()
  const log: string[] = []
  const errors: SynclineError[] = []
  const failed: [Write, SynclineError][] = []
  const listeners = new Set<(word: string) => void>()
  const turn = new Turn({
    endOfTurn: (run: () => void) => queueMicrotask(run),
    log: (...line: unknown[]) => log.push(line.join(' ')),
  } as never)
  let lastId = 0
  const kernel = {
    turn,
    newId: () => `id${++lastId}`,
    report: (error: SynclineError) => errors.push(error),
    failed: (write: LocalWrite, error: SynclineError) => {
      write.fail(error)
      failed.push([write, error])
    },
    env: { monotonic: () => world.nowMs },
    data: { writer: { stored: () => Promise.resolve() } },
  } as unknown as Kernel
  let value = 7
  const source = new Source(turn, () => value)
  const open = (name: string, room: string): Toy => {
    log.push(`open ${name}/${room}`)
    return {
      get: () => source.get(),
      subscribe: (next, options) => source.subscribe(next, options),
      [Symbol.asyncIterator]: () => source[Symbol.asyncIterator](),
      say(word) {
        if (word === '') throw new Error('Say something.')
        log.push(`say ${word}`)
      },
      async ask(word) {
        if (word === '') throw new SynclineError('NOT_FOUND', 'Ask something.')
        return word.toUpperCase()
      },
      listen(callback) {
        listeners.add(callback)
        const stop = (): void => void listeners.delete(callback)
        return Object.assign(stop, { [Symbol.dispose]: stop })
      },
      async *stream() {
        yield 'a'
        yield 'b'
      },
      has: (word) => word === 'here',
      add(word, options, write?: LocalWrite) {
        if (word === '') throw new SynclineError('BAD_KEY', 'Add something.')
        log.push(`add ${word} ${options?.loud ?? false}`)
        write?.reach('MEMORY')
        return write as never
      },
      inner: { shout: (word) => void log.push(`shout ${word}`) },
    }
  }
  let come = (): void => {}
  let fail = (): void => {}
  let loads = 0
  const module = { start: () => ({ handlers: {}, open: (name: string) => (room: string) => open(name, room) }) }
  const definition: LateDefinition<unknown, Rooms> = {
    code: code(() => {
      loads++
      return new Promise<typeof module>((resolve, reject) => {
        come = () => resolve(module)
        fail = () => reject(new Error('offline'))
      })
    }),
    standIn: () =>
      opens(
        readable<number, Omit<Toy, keyof Readable<number>>>(0, {
          say: runs,
          ask: promises,
          listen: stops,
          stream: streams,
          has: answers(false),
          add: writes(2),
          inner: members({ shout: runs }),
        }),
      ),
  }
  const started: unknown[] = []
  const late = new Late(kernel, definition.code, (feature) => started.push(feature))
  return {
    kernel,
    turn,
    late,
    handle: (name: string) => late.handle(definition.standIn, name, undefined),
    definition,
    log,
    errors,
    failed,
    started,
    listeners,
    loads: () => loads,
    set: (next: number) => {
      value = next
      source.changed()
    },
    come: async (): Promise<void> => {
      come()
      await new Promise((resolve) => setImmediate(resolve))
    },
    fail: async (): Promise<void> => {
      fail()
      await new Promise((resolve) => setImmediate(resolve))
    },
  }
}

test('a handle works at once: what is done before its code is here is done then, once and in order', async () => {
  const { handle, log, loads, come, started } = toy()
  const rooms = handle('board')
  expect(loads()).toBe(0)
  const room = rooms('r1')
  room.say('one')
  const answer = room.ask('two')
  const write = room.add('three')
  room.inner.shout('four')
  rooms('r2').say('five')
  expect([write.status.get(), room.has('here'), room.get(), log]).toEqual(['pending', false, 0, []])
  await come()
  expect(log).toEqual(['open board/r1', 'say one', 'add three false', 'shout four', 'open board/r2', 'say five'])
  expect(await answer).toBe('TWO')
  expect(write.status.get()).toBe('acked')
  expect([room.has('here'), room.get(), loads(), started.length]).toEqual([true, 7, 1, 1])
  room.say('six')
  room.add('seven', { loud: true })
  handle('board')('r3').say('eight')
  expect(log.slice(-4)).toEqual(['say six', 'add seven true', 'open board/r3', 'say eight'])
})

test('what was begun before the code is here can be ended before, and then never begins', async () => {
  const { handle, listeners, come } = toy()
  const room = handle('board')('r')
  const heard: string[] = []
  const stop = room.listen((word) => heard.push(word))
  {
    using _ended = room.listen(() => heard.push('ended'))
  }
  await come()
  for (const tell of listeners) tell('hello')
  expect([heard, listeners.size]).toEqual([['hello'], 1])
  stop()
  expect(listeners.size).toBe(0)
})

test('a subscriber from before hears the value that the code brings, and each later one', async () => {
  const { handle, come, set } = toy()
  const room = handle('board')('r')
  const values: number[] = []
  const all: number[] = []
  room.subscribe((value) => values.push(value))
  room.subscribe((value) => all.push(value), { immediate: true })
  const iterated: number[] = []
  const iterating = (async () => {
    for await (const value of room) {
      iterated.push(value)
      if (iterated.length === 3) break
    }
  })()
  await come()
  set(8)
  await iterating
  expect([values, all, iterated]).toEqual([
    [7, 8],
    [0, 7, 8],
    [0, 7, 8],
  ])
})

test('a stream and its end wait for the code', async () => {
  const { handle, come } = toy()
  const words: string[] = []
  const iterating = (async () => {
    for await (const word of handle('board')('r').stream()) {
      words.push(word)
      if (word === 'b') break
    }
  })()
  await come()
  await iterating
  expect(words).toEqual(['a', 'b'])
})

test('code that cannot be had fails what waits for an answer; the rest goes on waiting, until it can', async () => {
  const { handle, late, log, errors, loads, fail, come } = toy()
  const room = handle('board')('r')
  const answer = room.ask('a').catch((error: unknown) => error)
  const write = room.add('b')
  room.say('c')
  await fail()
  expect(await answer).toMatchObject({ code: 'OFFLINE', cause: { message: 'offline' } })
  expect([errors.map(({ code: each }) => each), write.status.get(), log]).toEqual([['OFFLINE'], 'pending', []])
  void late.loadWaiting()
  await come()
  expect([log, loads()]).toEqual([['open board/r', 'add b false', 'say c'], 2])
  await late.loadWaiting()
  expect(loads()).toBe(2)
})

test('what fails when it is done at last is told: as the refusal of a write, a rejection, or an error event', async () => {
  const { handle, errors, failed, log, come } = toy()
  const room = handle('board')('r')
  const write = room.add('')
  const waiting = write.wait('local').catch((error: unknown) => error)
  const answer = room.ask('').catch((error: unknown) => error)
  room.say('')
  room.say('still here')
  await come()
  expect(await answer).toMatchObject({ code: 'NOT_FOUND' })
  expect(failed).toMatchObject([[{ id: write.id }, { code: 'BAD_KEY' }]])
  expect(await waiting).toMatchObject({ code: 'BAD_KEY' })
  expect(errors).toMatchObject([{ code: 'VALIDATION_ERROR', message: 'Error: Say something.' }])
  expect(log).toContain('say still here')
})

test('what one user did and what still waits is not done in the name of the next', async () => {
  const { handle, late, failed, log, come } = toy()
  const room = handle('board')('r')
  const write = room.add('mine')
  room.say('mine')
  late.userChanged()
  expect(failed).toMatchObject([[{ id: write.id }, { code: 'UNAUTHORIZED' }]])
  room.say('theirs')
  await come()
  expect(log).toEqual(['open board/r', 'say theirs'])
})

test('what waits is bounded, and nothing is taken after the end', () => {
  const { handle, turn } = toy()
  const room = handle('board')('r')
  for (let i = 1; i < 10_000; i++) room.say('x')
  expect(() => room.say('x')).toThrow(expect.objectContaining({ code: 'BACKPRESSURE' }))
  turn.close()
  expect(() => room.say('x')).toThrow(expect.objectContaining({ code: 'CLOSED' }))
})

test('a feature with data that the contract names is loaded at once, others when they are used', async () => {
  const { kernel, definition, loads, come } = toy()
  const contract = { sets: { tags: {} } } as never
  const lazy = lateGroups(kernel, { sets: definition, topics: definition }, contract, () => {})
  expect([Object.keys(lazy.groups['sets'] ?? {}), Object.keys(lazy.groups['topics'] ?? {})]).toEqual([['tags'], []])
  expect([lazy.loading.length, loads()]).toEqual([0, 0])
  const eager = lateGroups(kernel, { sets: { ...definition, isData: true } }, contract, () => {})
  expect([eager.loading.length, loads()]).toEqual([1, 1])
  await come()
  await eager.loading[0]
})
