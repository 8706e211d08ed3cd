import { Failure, isSame, shown } from '../failure.ts'
import type { Stamp } from '../trial.ts'
import type { Driver } from './driver.ts'
import type { Link, Script } from './script.ts'

/** What a client does in some situation, and the rule that says so. */
export interface Scenario {
  readonly rule: string
  readonly title: string
  /** Made before the client starts. */
  readonly prepare?: (script: Script) => void
  readonly run: (script: Script, client: Driver) => Promise<void>
}

/** How far from the time of the server a client's stamps may lie. */
export const DRIFT_MS = 60_000
/** How long what the server says may take to be read. */
const READ_MS = 5_000
/** A stamp of the script's. */
export const stampAt = (millis: number): Stamp => ({ millis, counter: 0, nodeId: 'script' })
/** Long enough for what follows at once. */
export const shortly = (ms = 300): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Waits until the client reads a value. */
export async function reads(client: Driver, key: string, value: unknown): Promise<void> {
  const deadline = performance.now() + READ_MS
  for (;;) {
    const { value: seen } = await client.tell({ do: 'read', map: 'todos', key })
    if (isSame(seen, value)) return
    if (performance.now() > deadline) throw new Failure(`${key} to be read as ${shown(value)}`, shown(seen))
    await shortly(30)
  }
}

/** The client connects and follows a map; this is its first connection, in step. */
export async function following(script: Script, client: Driver): Promise<Link> {
  await client.tell({ do: 'connect' })
  await client.tell({ do: 'follow', map: 'todos' })
  const link = await script.connection(0)
  await script.message(link, 'SYNC_INIT')
  return link
}

/** The connection after this one. */
export async function reconnected(script: Script, link: Link): Promise<Link> {
  link.drop()
  return script.connection(script.links.indexOf(link) + 1)
}

/** Says whether an op was stamped by the time of the server. */
export const isMade = (op: { readonly record: { readonly timestamp: Stamp } }, script: Script): boolean =>
  Math.abs(op.record.timestamp.millis - script.now()) <= DRIFT_MS
