import {
  compareCanonical,
  compareStamps,
  fieldWriteValue,
  formatStamp,
  valuesEqual,
  visibleValue,
  type LwwRecord,
  type Stamp,
  type Value,
} from '@syncline/core'
import { MerkleTrie, fnv1a, stampDigest, stateDigest } from '@syncline/core/merkle'
import type { BareClient } from './bare-client.ts'
import { covers, excuseOf, fieldOf, type Entry } from './ledger.ts'
import { sameState } from './records.ts'
import { fieldsSeen, seenBy, type Role } from './users.ts'
import type { Machine, World } from './world.ts'

type Records = ReadonlyMap<string, { readonly record: LwwRecord }>

/**
 * What must be so when everything has come to rest: every copy is the same, nothing waits, and the common state is made
 * of exactly the writes that count. `observer` is a client that came last, with nothing.
 */
export function checkFinalState(world: World, observer: BareClient): void {
  const { oracle } = world
  for (const mapName of world.maps) {
    const copy = observer.copies.get(mapName)
    const served: Records = copy?.rows ?? new Map<string, { record: LwwRecord }>()
    // What ends or is forgotten since is in no digest.
    if (copy?.digest !== undefined && copy.digest !== digestOf(served))
      oracle.fail(
        'INV-10',
        `The server's digest of ${mapName} is ${copy?.digest}, its records give ${digestOf(served)}`,
      )
    compareCopies(world, 'the disk of the server', mapName, served, world.disk.records(mapName))
    for (const { role, process, copies } of world.bareClients) {
      if (fieldsSeen(role, mapName) === undefined) continue
      compareCopies(world, process.name, mapName, asSeen(role, mapName, served), copies.get(mapName)?.rows ?? new Map())
    }
    for (const machine of world.machines) {
      const { role, name } = machine
      const held = baseOf(machine, mapName)
      if (fieldsSeen(role, mapName) === undefined) {
        if (held.size > 0) oracle.fail('INV-21', `the storage of ${name} holds records of ${mapName}`)
        continue
      }
      const seen = asSeen(role, mapName, served)
      compareCopies(world, `the storage of ${name}`, mapName, seen, held)
      checkShown(world, machine, mapName, seen)
    }
    for (const [key, { record }] of served) checkOrigin(world, mapName, key, record)
  }
  checkOverlays(world)
  oracle.locks.checkEnd()
  oracle.topics.checkEnd()
  if (world.options.gathers) world.gatherings.check()
  if (world.options.hasTallies) world.tallies.check(world.tabs.filter(({ isAlive }) => isAlive))
  for (const entry of oracle.ledger.entries.values()) {
    checkKept(world, entry, observer.copies.get(entry.mapName)?.rows.get(entry.key)?.record)
    checkReported(world, entry)
  }
}

/** Records as a role sees them. */
function asSeen(role: Role, mapName: string, records: Records): Records {
  if (fieldsSeen(role, mapName) === 'all') return records
  return new Map([...records].map(([key, { record }]) => [key, { record: seenBy(role, mapName, record) }]))
}

/** INV-10: byte-identical canonical state, under the same `timestamp`. */
function compareCopies(world: World, who: string, mapName: string, served: Records, held: Records): void {
  for (const key of new Set([...served.keys(), ...held.keys()])) {
    const [a, b] = [served.get(key)?.record, held.get(key)?.record]
    const isSame =
      a !== undefined && b !== undefined && sameState(key, a, b) && compareStamps(a.timestamp, b.timestamp) === 0
    if (isSame) continue
    const texts = `the server has ${JSON.stringify(a)}, ${who} has ${JSON.stringify(b)}`
    world.oracle.fail('INV-10', `'${key}' of ${mapName}: ${texts}`)
  }
}

function baseOf(machine: Machine, mapName: string): Records {
  const rows = new Map<string, { record: LwwRecord }>()
  for (const [[name, key], row] of machine.storage.rows('base'))
    if (name === mapName) rows.set(key, row as { record: LwwRecord })
  return rows
}

/** What applications see is the common state, but for keys that have a refused write on top. */
function checkShown(world: World, machine: Machine, mapName: string, served: Records): void {
  const refused = new Set(
    machine.storage
      .rows('queue')
      .map(([, row]) => `${(row as { mapName: string }).mapName}/${(row as { key: string }).key}`),
  )
  for (const tab of world.tabs) {
    if (tab.machine !== machine || !tab.isAlive) continue
    for (const [key, { record }] of served) {
      if (refused.has(`${mapName}/${key}`) || record.ttlMs !== undefined) continue
      const [expected, shown] = [visibleValue(record, 0), tab.value(mapName, key)]
      if (!valuesEqual(expected, shown as typeof expected))
        world.oracle.fail(
          'INV-10',
          `${tab.name} shows ${JSON.stringify(shown)} at ${mapName}/${key} instead of ${JSON.stringify(expected)}`,
        )
    }
  }
}

/** Nothing waits any more; what was refused was reported. */
function checkOverlays(world: World): void {
  for (const machine of world.machines) {
    for (const [[node, id], row] of machine.storage.rows('queue')) {
      const { refusal } = row as { refusal?: unknown }
      const entry = world.oracle.ledger.entries.get(id)
      if (refusal === undefined) world.oracle.fail('overlay', `${machine.name} still holds ${id} of node ${node}`)
      else if (entry?.rejected === undefined && !world.tallies.refused(id))
        world.oracle.fail('overlay', `${machine.name} holds ${id} as refused, and told nobody`)
    }
  }
}

/** No write is lost: it is in the final state, or something later stands there, or its end was told. */
function checkKept(world: World, entry: Entry, record: LwwRecord | undefined): void {
  const { op, id, mapName, key, answer } = entry
  const { oracle } = world
  if (op === undefined || !entry.wasAccepted) {
    // A removal of what is deleted and forgotten has what it wants.
    if (op?.opType === 'REMOVE' && answer?.errorCode === 'STALE') return
    if (isReplaced(world, entry)) return
    if (excuseOf(entry) === undefined && !diedUnstored(entry)) {
      const stage =
        op === undefined ? 'never sent' : `sent ${entry.sendCount} times, last answer ${JSON.stringify(answer)}`
      world.oracle.fail('INV-9', `${id} on ${mapName}/${key} is gone without a word: ${stage}`)
    }
    return
  }
  if (entry.concern === 'FIRE_AND_FORGET' || covers(record, op) || oracle.deletions.covered(mapName, key, op)) return
  // A write that was acknowledged, then lost by the server in a crash, and then refused when it was sent again.
  // Or which was refused before it was sent again, because its record was deleted and forgotten meanwhile.
  if (entry.rejected !== undefined && (answer?.success !== true || entry.rejected === 'STALE')) return
  // Acknowledged from memory, and lost there and here, where it was not stored yet: two processes died.
  if (!entry.wasPersisted && diedUnstored(entry)) return
  // What the server lost from memory is not brought back by who may not read and write the whole map, nor by a machine
  // that has thrown its copy away, for another user or for being away longer than deletions are kept (INVARIANTS.md).
  const hasNoCopy =
    entry.isGuest ||
    world.visited.has(entry.machine) ||
    oracle.followers.wasReset(entry.machine, mapName, entry.acceptedAtMs)
  if (!entry.wasPersisted && hasNoCopy && world.host.ends > 0) return
  const rule = entry.wasPersisted ? 'INV-6' : 'INV-9'
  world.oracle.fail(
    rule,
    `${id} (${formatStamp(op.record.timestamp)}) was acknowledged, but ${mapName}/${key} is ${JSON.stringify(record)}`,
  )
}

/** Its own writer has written the whole record anew, and the server has that, or what became of that was told. */
function isReplaced({ oracle }: World, { op, mapName, key, machine }: Entry): boolean {
  const stamp = op?.record.timestamp
  return oracle.ledger
    .of(mapName, key)
    .some(
      (other) =>
        other.machine === machine &&
        (other.wasAccepted || other.rejected !== undefined) &&
        other.op !== undefined &&
        other.op.opType !== 'PATCH' &&
        (stamp === undefined || compareStamps(other.op.record.timestamp, stamp) > 0),
    )
}

/** A tab that is dead took a write along that it had not stored. */
function diedUnstored(entry: Entry): boolean {
  return entry.isTabDead && !entry.isStored
}

/** A write that lost to another machine's was told to its application. */
function checkReported(world: World, entry: Entry): void {
  const { answer, op } = entry
  if (entry.rejected === 'STALE' && entry.wasThere && !entry.isTabDead && entry.conflicts === 0)
    world.oracle.fail('conflict', `${entry.id} came too late for its record, and no conflict was told`)
  if (answer?.superseded !== true || op === undefined || entry.tab === undefined || excuseOf(entry) !== undefined)
    return
  if (diedUnstored(entry)) return
  const stamp = op.record.timestamp
  const later = world.oracle.ledger
    .of(entry.mapName, entry.key)
    .filter(
      (other) => other !== entry && other.op !== undefined && compareStamps(other.op.record.timestamp, stamp) >= 0,
    )
  const rivals = [...entry.lostTo, ...later]
  const isForeign = entry.lostTo.length > 0 && rivals.every(({ machine }) => machine !== entry.machine)
  // A removal loses nothing to another one, nor to what has ended since.
  const isGone = (other: Entry): boolean => other.op?.opType === 'REMOVE' || other.op?.record.ttlMs !== undefined
  const differs = op.opType !== 'REMOVE' || !rivals.some(isGone)
  if (!isForeign || !differs || entry.conflicts > 0) return
  const winners = entry.lostTo.map(({ id }) => id).join(', ')
  world.oracle.fail('conflict', `${entry.id} lost to ${winners} without a conflict event`)
}

/** INV-12: nothing is in the final state that nobody wrote there, and a removal stands until a whole write follows it. */
function checkOrigin(world: World, mapName: string, key: string, record: LwwRecord): void {
  const { ledger } = world.oracle
  const fail = (what: string): void =>
    world.oracle.fail('origin', `${mapName}/${key}: ${what} in ${JSON.stringify(record)}`)
  const writers = (stamp: Stamp): readonly Entry[] =>
    ledger.at(stamp).filter((entry) => entry.mapName === mapName && entry.key === key)
  const whole = writers(record.base).filter(({ op }) => op?.opType !== 'PATCH')
  if (whole.length === 0) return fail('nobody wrote the base')
  const [writer] = whole
  if (whole.length === 1 && writer?.op !== undefined) {
    const { value } = writer.op.record
    const { ttlMs = Infinity } = writer.op.record
    // What has ended is removed in its writer's name.
    if (record.value === null && record.base.millis + ttlMs < world.serverClock.latest) return
    if ((value === null) !== (record.value === null)) return fail(`${writer.id} wrote something else`)
    for (const name of Object.keys((value as object | null) ?? {})) {
      if (record.fields !== undefined && Object.hasOwn(record.fields, name)) continue
      if (!valuesEqual(fieldOf(value, name), fieldOf(record.value, name)))
        fail(`field '${name}' is not what ${writer.id} wrote`)
    }
  }
  if (whole.length > 1) checkJoin(whole, record, fail)
  for (const [name, state] of Object.entries(record.fields ?? {})) {
    const patches = writers(state.stamp).filter(({ op }) => op?.opType === 'PATCH')
    const value = fieldWriteValue(record, name, state)
    const written = patches.map(({ op }) => fieldOf(op?.record.value, name))
    if (!written.some((other) => valuesEqual(other, value))) fail(`nobody wrote field '${name}' so`)
    if (greatest(patches, name, value) !== value) fail(`field '${name}' is not the greatest of those under its stamp`)
  }
}

/** Under one stamp a removal wins over maps, and maps are joined: of two values of a field the greater one stays. */
function checkJoin(writers: readonly Entry[], record: LwwRecord, fail: (what: string) => void): void {
  const accepted = writers.filter(({ wasAccepted }) => wasAccepted)
  if (accepted.some(({ op }) => op?.record.value === null)) {
    if (record.value !== null) fail('a removal lost to a write under its own stamp')
    return
  }
  if (record.value === null) return
  for (const name of new Set(accepted.flatMap(({ op }) => Object.keys(op?.record.value as object)))) {
    if (record.fields !== undefined && Object.hasOwn(record.fields, name)) continue
    const value = fieldOf(record.value, name)
    if (value === undefined || greatest(accepted, name, value) !== value)
      fail(`field '${name}' is not the greatest of those under its stamp`)
  }
}

/** The greatest value that accepted writes gave a field, or the one that it has. */
function greatest(writers: readonly Entry[], name: string, present: Value | undefined): Value | undefined {
  let found = present
  for (const { op, wasAccepted } of writers) {
    const value = fieldOf(op?.record.value, name)
    if (!wasAccepted || value === undefined || found === undefined) continue
    if (compareCanonical(value, found) > 0) found = value
  }
  return found
}

function digestOf(records: Records): string {
  const trie = new MerkleTrie()
  for (const [key, { record }] of records) {
    const hash = fnv1a(key)
    trie.add(hash, stampDigest(hash, record.timestamp), stateDigest(key, record))
  }
  return trie.digest()
}
