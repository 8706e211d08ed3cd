import type { ClientOp } from '@syncline/protocol'
import { afterAll, expect, test } from 'vitest'
import { clearHomes, newHome } from './home.ts'
import { Random } from './random.ts'
import { WireClient } from './wire-client.ts'

const ROUNDS = Number(process.env['SYNCLINE_LOCK_ROUNDS'] ?? 8)
const SEED = Number(process.env['SYNCLINE_KILL_SEED'] ?? Date.now() % 1_000_000)
const NAMES = ['a', 'b', 'c']

let isRed = true
afterAll(() => {
  if (!isRed) clearHomes()
})

/** The greatest token that anybody has heard of, by lock. */
type Greatest = Map<string, number>

let ids = 0

/** Takes a lock, writes under it and gives it back, over and over, until the connection ends. Answers what went wrong. */
async function contend(client: WireClient, random: Random, greatest: Greatest, onGrant: () => void): Promise<string[]> {
  const problems: string[] = []
  const ended = client.closed.then(() => 'ended' as const)
  for (;;) {
    const name = NAMES[random.below(NAMES.length)] as string
    const token = await Promise.race([take(client, name).catch(() => undefined), ended])
    if (typeof token !== 'number') return problems
    if (token <= (greatest.get(name) ?? 0)) problems.push(`${name}: ${token} came after ${greatest.get(name)}`)
    greatest.set(name, Math.max(token, greatest.get(name) ?? 0))
    onGrant()
    const code = await Promise.race([write(client, name, token).catch(() => undefined), ended])
    if (code === undefined || code === 'ended') return problems
    if (code !== 'OK') problems.push(`${name}: a write under ${token}, which is held, is refused ${code}`)
    client.send({ type: 'LOCK_RELEASE', payload: { name, fencingToken: token } })
  }
}

function take(client: WireClient, name: string): Promise<number> {
  const requestId = `r${++ids}`
  client.send({ type: 'LOCK_REQUEST', payload: { requestId, name, ttl: 60_000 } })
  return client.next((message) =>
    message.type === 'LOCK_GRANTED' && message.payload.requestId === requestId
      ? message.payload.fencingToken
      : undefined,
  )
}

/** What became of a write under a lock. */
function write(client: WireClient, name: string, token: number): Promise<string> {
  const opId = `op${++ids}`
  const timestamp = { millis: Date.now(), counter: 0, nodeId: 'e2e' }
  const payload: ClientOp = {
    id: opId,
    mapName: 'locked',
    key: name,
    opType: 'PUT',
    record: { value: { token }, timestamp },
    writeConcern: 'PERSISTED',
    fence: { name, token },
  }
  client.send({ type: 'CLIENT_OP', payload })
  return client.next((message) => {
    if (message.type !== 'OP_ACK') return undefined
    const result = message.payload.results.find((one) => one.opId === opId)
    return result === undefined ? undefined : (result.errorCode ?? 'OK')
  })
}

test(
  `INV-19 [LK8] [LK9]: over ${ROUNDS} rounds of kill -9 on SQLite tokens rise, and none of an earlier run passes`,
  { timeout: 60_000 + ROUNDS * 10_000 },
  async () => {
    const random = new Random(SEED)
    const home = await newHome()
    const greatest: Greatest = new Map()
    let granted = 0
    let contests: Promise<string[]>[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const server = home.start()
      const port = await server.ready
      const encoding = round % 2 === 0 ? 'json' : 'msgpack'
      const first = await WireClient.open(port, home.token, encoding)
      for (const [name, token] of greatest) {
        expect(await write(first, name, token), `round ${round}, seed ${SEED}: ${name} under ${token}`).toBe(
          'STALE_TOKEN',
        )
      }
      const clients = [first, ...(await Promise.all([1, 2].map(() => WireClient.open(port, home.token, encoding))))]
      let due = random.below(100)
      const killed = new Promise<void>((resolve) => {
        const onGrant = (): void => {
          granted++
          if (due-- === 0) void server.kill().then(resolve)
        }
        contests = clients.map((client) => contend(client, random, greatest, onGrant))
      })
      await killed
      const problems = (await Promise.all(contests)).flat()
      expect(problems, `round ${round}, seed ${SEED}; everything is kept in ${home.folder}`).toEqual([])
    }
    expect(granted).toBeGreaterThan(ROUNDS * 10)
    expect(greatest.size).toBe(NAMES.length)
    isRed = false
  },
)
