// The thread that owns the database: better-sqlite3 is synchronous, and a flush must not stop the server's event loop.
import { parentPort, receiveMessageOnPort, type MessagePort } from 'node:worker_threads'
import type { Database, Options } from 'better-sqlite3'
import { StorageError } from '../adapter.ts'
import { buffersOf } from './batch-layout.ts'
import { Engine } from './engine.ts'
import { toStorageError } from './faults.ts'
import type { PackedBatch, WorkerReply, WorkerRequest } from './messages.ts'
import { openDatabase, type OpenedDatabase } from './open-database.ts'

type OpenRequest = Extract<WorkerRequest, { name: 'open' }>
type WriteRequest = Extract<WorkerRequest, { name: 'write' }>

/** How much is written in one transaction at most, so that the first of many writers need not wait for the last. */
const GROUP_BATCHES = 1000
const GROUP_BYTES = 2 * 1024 * 1024

const port = parentPort as MessagePort
let path = ''
let opened: (OpenedDatabase & { engine: Engine }) | undefined
/** Set when the disk failed. The database stays open until the process ends, because closing it would flush it. */
let broken: StorageError | undefined
/** Writes of senders that know of fewer failures than this are refused: they were sent before the latest one. */
let failure: { readonly epoch: number; readonly error: StorageError } | undefined

port.on('message', (first: WorkerRequest) => {
  if (first.name === 'open') void open(first)
  else handleFrom(first)
})

/** Handles a message and whatever has queued up behind it. */
function handleFrom(first: WorkerRequest): void {
  let next: WorkerRequest | undefined = first
  while (next !== undefined) {
    if (next.name === 'write') next = handleWrites(next)
    else {
      port.postMessage([handle(next)] satisfies WorkerReply[])
      next = receive()
    }
    if (opened !== undefined && broken === undefined) checkpoint(opened.engine, next === undefined)
  }
}

function receive(): WorkerRequest | undefined {
  return receiveMessageOnPort(port)?.message
}

/** Writes what is queued in one transaction. Returns the message after it, if it has been taken already. */
function handleWrites(first: WriteRequest): WorkerRequest | undefined {
  const writes = [first]
  let bytes = bytesOf(first)
  let next = receive()
  while (next?.name === 'write' && writes.length < GROUP_BATCHES && bytes < GROUP_BYTES) {
    writes.push(next)
    bytes += bytesOf(next)
    next = receive()
  }
  port.postMessage(writeAll(writes))
  return next ?? receive()
}

function bytesOf({ request }: WriteRequest): number {
  return buffersOf(request).reduce((sum, { byteLength }) => sum + byteLength, 0)
}

function writeAll(writes: readonly WriteRequest[]): WorkerReply[] {
  const stale = failure
  const refused = writes.filter(({ epoch }) => stale !== undefined && epoch < stale.epoch)
  const current = writes.slice(refused.length)
  const replies = refused.map(({ id }): WorkerReply => faultReply(id, (stale as NonNullable<typeof stale>).error))
  if (current.length === 0) return replies
  try {
    const results = engine().writeGroup(current.map(({ request }) => packedOf(request)))
    for (const [index, { id }] of current.entries()) replies.push({ id, value: results[index] })
  } catch (thrown) {
    const error = failed(thrown, 'write to')
    failure = { epoch: (current.at(-1) as WriteRequest).epoch + 1, error }
    for (const { id } of current) replies.push(faultReply(id, error))
  }
  return replies
}

function packedOf(request: WriteRequest['request']): PackedBatch {
  if ('unpackable' in request) throw new Error(request.unpackable)
  return request
}

function handle({ id, name, request }: Exclude<WorkerRequest, WriteRequest>): WorkerReply {
  try {
    switch (name) {
      case 'page':
        return { id, value: engine().page(request.mapName, request.after) }
      case 'changes':
        return { id, value: engine().changes(request.mapName, request.seq, request.limit) }
      case 'get':
        return { id, value: engine().get(request.key) }
      case 'list':
        return { id, value: engine().list(request.prefix) }
      case 'close':
        close()
        return { id, value: undefined }
      default:
        throw new StorageError('unavailable', `${path} is open already.`)
    }
  } catch (error) {
    return faultReply(id, failed(error, name === 'close' ? 'close' : 'read'))
  }
}

/** The sender asks for nothing else before this is answered. */
async function open({ id, request: { settings, newDatabaseId } }: OpenRequest): Promise<void> {
  path = settings.path
  let database: OpenedDatabase | undefined
  let reply: WorkerReply
  try {
    const { default: Driver } = await loadDriver()
    database = await openDatabase(settings, (file, options) => new Driver(file, options))
    const engine = new Engine(database.db)
    const state = engine.start(newDatabaseId)
    opened = { ...database, engine }
    reply = { id, value: state }
  } catch (error) {
    database?.db.close()
    database?.lock.close()
    reply = faultReply(id, toStorageError(error, path, 'open'))
  }
  port.postMessage([reply])
}

async function loadDriver(): Promise<{ default: new (path: string, options: Options) => Database }> {
  try {
    return await import('better-sqlite3')
  } catch (error) {
    throw new StorageError(
      'unavailable',
      'SQLite storage needs the package better-sqlite3: install it beside Syncline.',
      {
        cause: error,
      },
    )
  }
}

function engine(): Engine {
  if (broken !== undefined) throw broken
  if (opened === undefined) throw new StorageError('unavailable', `${path} is not open.`)
  return opened.engine
}

function checkpoint(engine: Engine, isIdle: boolean): void {
  try {
    engine.checkpoint(isIdle)
  } catch (thrown) {
    const error = failed(thrown, 'write to')
    // Else something only holds it up, such as somebody who reads from outside: the log grows until that is over.
    if (error.fault !== 'io' && error.fault !== 'damaged') return
    // Not tied to a message: it ends the storage, whatever it was doing.
    port.postMessage([faultReply(-1, error)])
  }
}

function close(): void {
  if (broken !== undefined) throw broken
  opened?.db.close()
  opened?.lock.close()
  opened = undefined
}

/** After a failed write or flush nothing more is read or written here. */
function failed(thrown: unknown, doing: string): StorageError {
  const error = toStorageError(thrown, path, doing)
  if (error.fault === 'io') broken = error
  return error
}

function faultReply(id: number, { fault, message }: StorageError): WorkerReply {
  return { id, fault, message }
}
