import { createServer, type ServerSocket, type SynclineServer } from '@syncline/server'
import { expect, test } from 'vitest'
import { createClient, type Client, type Lock } from '../src/index.ts'
import { Tab, World, type VirtualSocket } from './virtual-env.ts'

const RUNS = Number(process.env['SYNCLINE_RUNS'] ?? 60)
const FIRST = Number(process.env['SYNCLINE_SEED'] ?? 1)
const NAMES = ['a', 'b']

/** A connection between a client and a server on one virtual clock: slow in both directions, and at times swallowing all. */
class Link {
  isHole = false
  readonly #world: World
  readonly #socket: VirtualSocket
  readonly #latencyMs: () => number
  readonly #lastMs = { toServer: 0, toClient: 0 }
  readonly #handler: ReturnType<SynclineServer['accept']>

  constructor(world: World, server: SynclineServer, socket: VirtualSocket, latencyMs: () => number) {
    this.#world = world
    this.#socket = socket
    this.#latencyMs = latencyMs
    const serverSocket: ServerSocket = {
      remoteAddress: 'virtual',
      encoding: 'json',
      bufferedBytes: 0,
      send: (frames) => {
        for (const frame of frames) this.#later('toClient', () => socket.isOpen && socket.onText(frame as string))
      },
      ping: () => this.#later('toClient', () => this.#later('toServer', () => this.#handler.onAlive())),
      pause() {},
      resume() {},
      setMaxFrameBytes() {},
      close: (code, reason) => this.#later('toClient', () => socket.drop(code, reason)),
      terminate: () => this.#later('toClient', () => socket.drop()),
    }
    this.#handler = server.accept(serverSocket)
    socket.onSent = (text) => this.#later('toServer', () => this.#handler.onFrame(text))
    socket.onGone = () => this.#later('toServer', () => this.#handler.onClose())
  }

  /**
   * The connection is lost, and the client learns it first. Where the server does, another may have the lock for the
   * moment until the client does too: what it writes meanwhile is refused by its fence.
   */
  cut(): void {
    this.isHole = false
    this.#socket.drop()
  }

  /** Delivers in order. What is under way when the line goes dead is lost too. */
  #later(way: 'toServer' | 'toClient', deliver: () => void): void {
    const atMs = Math.max(this.#lastMs[way], this.#world.nowMs + this.#latencyMs())
    this.#lastMs[way] = atMs
    this.#world.after(atMs - this.#world.nowMs, () => {
      if (!this.isHole) deliver()
    })
  }
}

interface Outcome {
  granted: number
  lost: number
  refused: number
  stale: number
  written: number
  readonly problems: string[]
}

/** Some minutes of three clients that want the same locks, over a bad network, with clocks that are set. */
async function run(seed: number): Promise<Outcome> {
  const world = new World(seed)
  const pick = (n: number): number => Math.floor(world.random() * n)
  const server = createServer({
    env: new Tab(world, 'server').env(),
    listen: false,
    mode: 'development',
    auth: 'none',
    rateLimiting: { enabled: false },
  })
  await server.ready()
  const links: Link[] = []
  world.connect = (socket) => links.push(new Link(world, server, socket, () => 1 + pick(4) ** 4))
  const tabs = ['x', 'y', 'z'].map((name) => new Tab(world, name))
  const clients = tabs.map((tab): Client => createClient({ url: 'ws://server', env: tab.env() }))
  const alive = new Map<string, Set<Lock>>(NAMES.map((name) => [name, new Set()]))
  const latest = new Map<string, number>()
  const outcome: Outcome = { granted: 0, lost: 0, refused: 0, stale: 0, written: 0, problems: [] }

  const take = async (client: Client, name: string): Promise<void> => {
    const options = { ttlMs: [400, 2_000, 10_000][pick(3)] as number, waitMs: [0, 3_000, 30_000][pick(3)] as number }
    try {
      const lock = await client.lock(name, options)
      outcome.granted++
      const { fencingToken, signal } = lock
      if (!signal.aborted) {
        const others = [...(alive.get(name) as Set<Lock>)]
        for (const other of others)
          outcome.problems.push(`${name}: ${fencingToken} is held while ${other.fencingToken} is`)
        alive.get(name)?.add(lock)
        signal.addEventListener('abort', () => {
          outcome.lost++
          alive.get(name)?.delete(lock)
        })
      }
      if (fencingToken <= (latest.get(name) ?? 0)) outcome.problems.push(`${name}: ${fencingToken} came late`)
      latest.set(name, fencingToken)
    } catch (error) {
      outcome.refused++
      const { code } = error as { code?: string }
      if (code !== 'TIMEOUT' && code !== 'OFFLINE') outcome.problems.push(String(error))
    }
  }

  const known: Lock[] = []
  for (let step = 0; step < 120; step++) {
    const client = clients[pick(3)] as Client
    const name = NAMES[pick(2)] as string
    const mine = [...(alive.get(name) as Set<Lock>)][0]
    if (mine !== undefined && !known.includes(mine)) known.push(mine)
    const action = pick(12)
    if (action < 5) void take(client, name)
    else if (action === 5) void mine?.release()
    else if (action === 6) void mine?.renew([500, 5_000][pick(2)]).catch(() => {})
    else if (action === 7) links[pick(links.length)]?.cut()
    else if (action === 8) {
      const link = links[pick(links.length)]
      // What was swallowed does not come any more: a line that is back is another connection.
      if (link?.isHole === true) link.cut()
      else if (link !== undefined) link.isHole = true
    } else if (action === 9) (tabs[pick(3)] as Tab).skewMs += (pick(3) - 1) * 60_000
    else {
      // Whoever has the lock no longer is refused, whether or not it knows that.
      const fence = known[pick(Math.max(1, known.length))]
      if (fence !== undefined) {
        const write = client.map('m').set(fence.name, { token: fence.fencingToken }, { fence })
        const settled = (code: string): void => {
          if (code === 'ACKED') outcome.written++
          else if (code === 'STALE_TOKEN') outcome.stale++
        }
        write.wait('memory', { timeoutMs: 60_000 }).then(
          () => settled('ACKED'),
          (error: unknown) => settled((error as { code?: string }).code ?? ''),
        )
      }
    }
    await world.advance([1, 30, 500, 4_000][pick(4)] as number)
  }
  for (const link of links) if (link.isHole) link.cut()
  await world.advance(120_000)
  const { held, waiting } = server.inspect()['locks'] as { held: number; waiting: number }
  if (held + waiting > 0) outcome.problems.push(`${held} are held and ${waiting} wait when all leases are over`)
  for (const client of clients) void client.close()
  await world.settle()
  return outcome
}

test(
  `INV-19: in ${RUNS} schedules no two clients have a lock whose signal is not aborted, and tokens rise`,
  { timeout: 120_000 },
  async () => {
    const total = { granted: 0, lost: 0, refused: 0, stale: 0, written: 0 }
    for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
      const outcome = await run(seed)
      expect(outcome.problems, `seed ${seed}`).toEqual([])
      for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += outcome[key]
    }
    // The schedules meet what they are for.
    expect(total.granted).toBeGreaterThan(RUNS * 3)
    expect(total.lost).toBeGreaterThan(RUNS)
    expect(total.refused).toBeGreaterThan(RUNS)
    expect(total.stale).toBeGreaterThan(RUNS / 4)
    expect(total.written).toBeGreaterThan(RUNS / 4)
  },
)
