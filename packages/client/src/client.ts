import { MAP_NAME_BYTES } from '@syncline/protocol/codec'
import type { AnyMapDef, Contract } from '@syncline/protocol/contract'
import type { Client, MapsOf } from './client-api.ts'
import { defaultEnv } from './env.ts'
import { SynclineError, checkAtLeast } from './errors.ts'
import { Emitter } from './events.ts'
import type { Feature, Kernel } from './feature.ts'
import { journal, type HistoryOptions } from './features/journal/index.ts'
import { locks } from './features/locks/index.ts'
import { MapHandle, type ConflictEvent, type SyncMap } from './features/maps/handle.ts'
import { maps } from './features/maps/index.ts'
import { MapWriter } from './features/maps/state.ts'
import { merkleSync } from './features/merkle-sync/index.ts'
import { LiveQuery } from './features/queries/handle.ts'
import { questions } from './features/queries/index.ts'
import { search, searchHash, type SearchSpec } from './features/search/handle.ts'
import { backgroundCode, contractFeatures } from './features.ts'
import { Inbound } from './inbound/receive.ts'
import { Late, byName, lateGroups, type AnyLate, type LateDefinition } from './late.ts'
import { LocalData } from './offline/local-data.ts'
import { checkName } from './offline/op-writer.ts'
import type { Op } from './offline/overlay.ts'
import { LocalWrite } from './offline/write.ts'
import { DEFAULT_MAX_PENDING, type ClientOptions } from './options.ts'
import { Turn, asyncDispose, check, checkSignal, waitFor } from './readable.ts'
import { Outbox } from './session/outbox.ts'
import { pendingSource, statusSource } from './status.ts'
import { memory } from './storage/memory.ts'
import { Connection, type ConnectionState } from './transport/connection.ts'

/**
 * Makes a client. It works at once, without the network: it loads its data, connects and comes back after failures by
 * itself. Throws only for options that cannot be meant: VALIDATION_ERROR.
 */
// eslint-disable-next-line typescript/no-empty-object-type -- a client without a contract has no maps by name.
export function createClient<const C extends Contract = {}>(given?: ClientOptions<C>): Client<C> {
  const options: ClientOptions<C> = given ?? {}
  const { contract, auth, limits, signal } = options
  const storage = options.storage ?? memory()
  checkSignal(signal)
  const env = options.env ?? defaultEnv()
  const url = options.url ?? env.ownUrl
  const { maxPending = DEFAULT_MAX_PENDING } = limits ?? {}
  checkAtLeast(1, 'limits.maxPending', maxPending)
  check(url ?? '', 'string', 'url')
  const turn = new Turn(env)
  const emitter = new Emitter(env, turn)
  const mapHandles = new Map<string, MapHandle<unknown, unknown>>()
  const onReady: (() => void)[] = []
  const idPrefix = env.uniqueId()
  let lastId = 0
  let isConnected = false
  let wantsConnection = true
  let closing: Promise<void> | undefined

  const report = (error: SynclineError): void => {
    emitter.emit(error.code === 'UNSUPPORTED_VERSION' ? 'upgrade-required' : 'error', { error })
  }
  const statusChanged = (): void => {
    noteStatus()
    pending.changed()
  }

  const data = new LocalData(
    {
      env,
      turn,
      replaced: (op, record) => kernel.inBackground((code) => code.replaced(op, record)),
      opPlaced(op) {
        // Without its code nobody knows which row it belongs to.
        if (op.row.type === 'COUNT') void named.counters.load()
        if (op.refusal === undefined) outbox.add(op)
        statusChanged()
      },
      opForgotten: statusChanged,
      userChanged(aside, former) {
        outbox.userChanged(aside)
        if (former !== undefined) for (const each of [...lates, ...features]) each.userChanged?.()
        restartStatus()
        for (const replica of data.used.values()) replica.stateChanged()
        statusChanged()
      },
      mapUsed: (replica) => {
        for (const feature of features) feature.mapUsed?.(replica)
      },
      mapBegunAnew: (replica) => {
        for (const feature of features) feature.mapBegunAnew?.(replica)
      },
      stored() {
        outbox.flushSoon()
        statusChanged()
      },
      report,
    },
    storage,
  )

  const kernel: Kernel = {
    env,
    turn,
    data,
    hasServer: url !== undefined,
    maxPending,
    newId: () => `${idPrefix}-${++lastId}`,
    get outbox() {
      return outbox
    },
    get isOnline() {
      return isConnected
    },
    whenReady: (run) => {
      if (data.isReady) run()
      else onReady.push(run)
    },
    ready: (waitOptions) =>
      waitFor(
        env,
        waitOptions,
        () => new SynclineError('TIMEOUT', 'Local data is still loading.'),
        (resolve, reject) => {
          ready.then(resolve, reject)
          return () => {}
        },
      ),
    refused: (op, error) => emitter.emit('rejected', { error, write: writeOf(op) }),
    conflict({ op, local, remote, fields }) {
      const conflict = { key: op.row.key, local, remote, winner: remote, fields } as ConflictEvent<unknown>
      emitter.emit('conflict', { mapName: op.row.mapName, conflict, write: writeOf(op) })
    },
    inBackground(run) {
      // Beyond all measure, or at the end, the next session has to tell it again.
      if (!turn.isClosed && !background.isFull) background.use(run)
    },
    failed(write, error) {
      write.fail(error)
      emitter.emit('rejected', { error, write })
    },
    send(message, onError) {
      const sent = inbound.expect(message, onError)
      connection?.send(sent)
      return sent.requestId
    },
    report,
    statusChanged,
  }

  const outbox = new Outbox(kernel)
  const features: Feature[] = []
  const inbound = new Inbound(report)
  function start(feature: Feature): void {
    features.push(feature)
    inbound.add(feature)
    // One whose code comes late has missed these.
    for (const replica of data.used.values()) feature.mapUsed?.(replica)
    if (isConnected) feature.online?.()
  }
  for (const feature of [maps(kernel), merkleSync(kernel)]) start(feature)

  const { groups, lates: named, loading } = lateGroups(kernel, contractFeatures, contract, start)
  const background = new Late(kernel, backgroundCode, start, true)
  const lates: AnyLate[] = [background, ...Object.values(named)]
  /** What gives the handles of a feature that no contract names. */
  function handles<D, H>({ code, standIn }: LateDefinition<D, H>): (name: string, definition: D) => H {
    const late = new Late(kernel, code, start)
    lates.push(late)
    return (name, definition) => late.handle(standIn, name, definition)
  }
  const ask = handles(questions)
  const find = handles(search)
  const read = handles(journal)

  function stateChanged(state: ConnectionState): void {
    const wasConnected = isConnected
    isConnected = state === 'online'
    if (isConnected && !wasConnected) {
      data.clock.opened()
      outbox.online()
      for (const feature of features) feature.online?.()
      // What could not be loaded before may be had now.
      for (const late of lates) void late.loadWaiting()
    } else if (wasConnected && !isConnected) {
      data.clock.closed()
      inbound.offline()
      for (const feature of features) feature.offline?.()
      outbox.offline()
    }
    statusChanged()
  }

  /** Another session, or none so far: what other tabs have left is looked for, by code that may have to be loaded. */
  const adopt = (): void => kernel.inBackground(({ Adoption }) => data.adopt(Adoption))

  const connection =
    url === undefined
      ? undefined
      : new Connection(
          {
            env,
            clock: data.clock,
            decode: (text) => inbound.decode(text),
            received(message) {
              try {
                inbound.receive(message)
              } catch (cause) {
                const error = new SynclineError('INTERNAL_ERROR', `A ${message.type} could not be handled.`, { cause })
                report(error)
                connection?.restart(error)
              }
            },
            identified(user) {
              data.identify(user)
              adopt()
            },
            stateChanged,
            pinged() {
              outbox.pinged()
              inbound.pinged()
            },
            ponged() {
              outbox.ponged()
              inbound.ponged()
            },
            report,
          },
          url,
          auth,
        )

  const {
    source: status,
    note: noteStatus,
    restart: restartStatus,
  } = statusSource({
    turn,
    data,
    connection,
    maxPending,
    now: () => env.now(),
    isClosed: () => turn.isClosed,
  })
  const pending = pendingSource(turn, data, (id) => {
    const op = data.overlay.ops.get(id)
    if (op !== undefined) outbox.discard(op)
  })

  /** A handle for an op that was written before a reload. */
  function writeOf(op: Op): LocalWrite {
    if (op.write === undefined) {
      const write = new LocalWrite(kernel, op.row.id, () => {
        throw new SynclineError('NOT_FOUND', 'What was there before this write is not known after a reload.')
      })
      write.attach(op)
      if (op.refusal !== undefined) write.fail(op.refusal)
    }
    return op.write as LocalWrite
  }

  function handle(name: string, definition: AnyMapDef | undefined): MapHandle<unknown, unknown> {
    let found = mapHandles.get(name)
    if (found === undefined) {
      checkName(name, MAP_NAME_BYTES, 'The name of a map')
      const replica = data.replica(name)
      found = new MapHandle({
        kernel,
        replica,
        writer: new MapWriter(kernel, replica, definition ?? {}),
        query: (spec) => new LiveQuery(kernel, replica, spec, (question) => ask(name, question)),
        search: (text, spec: SearchSpec<unknown>) =>
          find(name, {
            text,
            spec,
            fields: definition?.search,
            hash: searchHash(name, text, spec),
          }),
        history: (key, historyOptions: HistoryOptions) => read(name, { key, ...historyOptions }),
        onConflict: (callback) =>
          emitter.on('conflict', ({ mapName, conflict }) => {
            if (mapName === name) callback(conflict)
          }),
      })
      mapHandles.set(name, found)
    }
    return found
  }

  const loaded = data.load().then(() => {
    for (const run of onReady) run()
    for (const replica of data.used.values()) replica.stateChanged()
    statusChanged()
    if (closing !== undefined) return
    if (wantsConnection) connection?.connect()
    adopt()
  })
  const ready = loading.length === 0 ? loaded : Promise.all([loaded, ...loading]).then(() => {})

  async function close(closeOptions?: { readonly flushMs?: number }): Promise<void> {
    const { flushMs = 0 } = closeOptions ?? {}
    signal?.removeEventListener('abort', abort)
    await ready
    for (const late of lates) if (late !== background) await late.loadWaiting()
    if (flushMs > 0 && status.get().pending > 0) await flushed(flushMs)
    turn.close()
    connection?.close()
    await data.close()
    statusChanged()
  }

  function flushed(flushMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = env.after(flushMs, resolve)
      const stop = status.subscribe((now) => {
        if (now.pending > 0) return
        cancel()
        stop()
        resolve()
      })
    })
  }

  const client: Client<C> = {
    ready,
    get clientId() {
      return data.clock.nodeId
    },
    status,
    ...(groups as unknown as Pick<Client<C>, 'sets' | 'counters' | 'topics' | 'rooms'>),
    maps: byName(contract?.maps, handle) as MapsOf<C>,
    map: <T>(name: string) => handle(name, contract?.maps?.[name]) as unknown as SyncMap<T, T>,
    lock: handles(locks),
    pending,
    on: (name, callback) => emitter.on(name, callback),
    connect() {
      wantsConnection = true
      if (data.isReady && closing === undefined) connection?.connect()
    },
    disconnect() {
      wantsConnection = false
      if (closing === undefined) connection?.disconnect()
    },
    auth: {
      async signOut(signOutOptions) {
        const { wipe, discardPending } = signOutOptions ?? {}
        wantsConnection = false
        connection?.disconnect('needs-auth', new SynclineError('UNAUTHORIZED', 'Signed out.'))
        await ready
        if (discardPending) for (const op of data.overlay.ops.values()) outbox.discard(op)
        if (wipe) data.identify(undefined)
        await data.writer.stored()
      },
    },
    close: (closeOptions) => (closing ??= close(closeOptions)),
    [asyncDispose]: () => (closing ??= close()),
  }
  const abort = (): void => void client.close()
  if (signal?.aborted === true) abort()
  else signal?.addEventListener('abort', abort)
  return client
}
