import type { LwwRecord, Value } from '@syncline/core'
import { encodeValueJson, toWireRecord, type ReceivedRecord, type SyncPushResp } from '@syncline/protocol/codec'
import { SynclineError } from '../../errors.ts'
import type { Kernel } from '../../feature.ts'
import { withoutVersion } from '../../offline/base.ts'
import type { Replica } from '../../offline/replica.ts'
import { Backoff } from '../../session/backoff.ts'
import { retryAfterOf } from '../../session/retry-after.ts'

/** What one SYNC_PUSH holds at most: a slow line carries it before the server counts as silent. */
const SLICE_RECORDS = 500
const SLICE_CHARACTERS = 128 * 1024

/** Brings over records that the server lacks, slice by slice: the next one leaves when the last one is answered. */
export class Pushes {
  readonly #kernel: Kernel
  readonly #backoff: Backoff
  /** Called when less may be left to push of some maps. */
  onNext = (): void => {}
  /** The slice that is on its way. What is to go again is taken out of it. */
  #sent: { readonly replica: Replica; readonly recordsByKey: Map<string, LwwRecord> } | undefined

  constructor(kernel: Kernel) {
    this.#kernel = kernel
    this.#backoff = new Backoff(kernel.env)
  }

  /** Pushes what base holds under some keys. */
  add(replica: Replica, keys: readonly string[]): void {
    if (!replica.addUnpushed(keys)) return
    if (this.#sent?.replica === replica) for (const key of keys) this.#sent.recordsByKey.delete(key)
    this.#next()
  }

  /** The server has taken a slice, and says what it refused of it, in one answer or several. */
  answered({ mapName, refused, more }: SyncPushResp<ReceivedRecord>['payload']): void {
    if (this.#sent?.replica.name !== mapName) return
    const { replica, recordsByKey } = this.#sent
    const hasRecords = refused.some(({ record }) => record !== undefined)
    for (const { key, errorCode, record, seq } of refused) {
      const row = replica.base.rows.get(key)
      // The stream has brought something else meanwhile.
      if (row === undefined || row.record !== recordsByKey.get(key)) continue
      const isForNow = new SynclineError(errorCode).retryable
      if (isForNow) this.#pause()
      // The server's record may not have fitted into the answer: the next one has it.
      if (isForNow || (record === undefined && seq !== undefined && hasRecords)) recordsByKey.delete(key)
      // Whatever its position: what the server has lost stood at a later one.
      else replica.base.set(key, record && { record: withoutVersion(record), seq: seq ?? row.seq })
    }
    if (more === true) return
    if (!this.#backoff.isPaused) this.#backoff.reset()
    this.#ended()
  }

  /** The session is over: the next one says anew what is to be pushed. */
  stop(): void {
    this.#backoff.stop()
    this.#backoff.reset()
    this.#sent = undefined
  }

  readonly #next = (): void => {
    if (this.#sent !== undefined || this.#backoff.isPaused) return
    for (const replica of this.#kernel.data.used.values()) {
      const records = this.#slice(replica)
      if (records.length === 0) continue
      const sent = { replica, recordsByKey: new Map(records) }
      this.#sent = sent
      const payload = {
        mapName: replica.name,
        ...(replica.kind && { kind: replica.kind }),
        records: records.map(([key, record]) => ({ key, record: toWireRecord(record) })),
      }
      this.#kernel.send({ type: 'SYNC_PUSH', payload }, (error) => {
        if (this.#sent !== sent) return
        if (error.retryable) {
          sent.recordsByKey.clear()
          this.#pause(retryAfterOf(error))
        } else this.#kernel.report(error)
        this.#ended()
      })
      break
    }
    this.onNext()
  }

  #slice({ base, unpushed }: Replica): [key: string, record: LwwRecord][] {
    const records: [string, LwwRecord][] = []
    // Who turns out not to read the whole map never pushes.
    if (!base.whole) unpushed.clear()
    let characters = 0
    for (const key of unpushed) {
      const record = base.rows.get(key)?.record
      if (record === undefined) {
        unpushed.delete(key)
        continue
      }
      characters += key.length + encodeValueJson(toWireRecord(record) as unknown as Value).length
      if (records.length > 0 && (records.length >= SLICE_RECORDS || characters > SLICE_CHARACTERS)) break
      records.push([key, record])
    }
    return records
  }

  #pause(notBeforeMs = 0): void {
    this.#backoff.pause(notBeforeMs, this.#next)
  }

  /** What is still in the slice is done with; what was taken out of it goes again. */
  #ended(): void {
    for (const key of this.#sent?.recordsByKey.keys() ?? []) this.#sent?.replica.unpushed.delete(key)
    this.#sent = undefined
    this.#next()
    // Writes to what is pushed wait for it: to the server they may be changes of nothing.
    this.#kernel.outbox.flushSoon()
  }
}
