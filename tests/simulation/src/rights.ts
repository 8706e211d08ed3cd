import type { LwwRecord } from '@syncline/core'
import type { Frame } from '@syncline/protocol'
import type { Connection } from './connection.ts'
import { CANARY, claimsOf, fieldsSeen, type Claims, type Role } from './users.ts'
import type { Watch } from './watch.ts'

/** How long rights may outlive their token: the server looks once a second, and is late now and then. */
const EXPIRY_GRACE_MS = 2_000

/** Who speaks on a connection. */
interface Speaker {
  /** Of tokens that have arrived and are not answered. */
  readonly asked: Claims[]
  claims: Claims | undefined
}

/** INV-21: nobody is sent what they may not see, nor anything when their rights have ended. */
export class RightsOracle {
  readonly #watch: Watch
  readonly #speakers = new WeakMap<Connection, Speaker>()

  constructor(watch: Watch) {
    this.#watch = watch
  }

  /** A token has arrived. */
  asked(connection: Connection, token: string): void {
    this.#speakerOf(connection).asked.push(claimsOf(token))
  }

  /** The server takes the token that arrived first. */
  signedIn(connection: Connection): void {
    const speaker = this.#speakerOf(connection)
    speaker.claims = speaker.asked.shift()
  }

  roleOf(connection: Connection): Role {
    return this.#speakers.get(connection)?.claims?.role ?? 'writer'
  }

  /** The one whom the server takes the connection for; undefined where it asks nobody. */
  userOf(connection: Connection): string | undefined {
    return this.#speakers.get(connection)?.claims?.userId
  }

  checkFrame(connection: Connection, frame: Frame): void {
    if (this.roleOf(connection) === 'guest' && textOf(frame).includes(CANARY))
      this.#watch.fail('INV-21', `${connection.name} was sent what guests must not see: ${textOf(frame)}`)
  }

  /** INV-21: what a connection is sent of a map is for the eyes of its user, whose rights have not ended. */
  shows(connection: Connection, mapName: string, values: Iterable<unknown>): void {
    const claims = this.#speakers.get(connection)?.claims
    if (claims === undefined) return
    const { role, expiresAtMs = Infinity } = claims
    const lateMs = Math.min(this.#watch.serverNow() - expiresAtMs, this.#watch.clockSetAgoMs())
    if (lateMs > EXPIRY_GRACE_MS)
      this.#watch.fail('INV-21', `${connection.name} is sent ${mapName} ${lateMs} ms after its rights have ended`)
    const seen = fieldsSeen(role, mapName)
    if (seen === 'all') return
    if (seen === undefined) this.#watch.fail('INV-21', `${connection.name} is sent ${mapName}, which it may not read`)
    for (const value of values)
      for (const name of Object.keys((value as object | null) ?? {}))
        if (seen?.has(name) !== true)
          this.#watch.fail('INV-21', `${connection.name} is sent field '${name}' of ${mapName}`)
  }

  showsRecords(
    connection: Connection,
    mapName: string,
    records: readonly { readonly record: Pick<LwwRecord, 'value' | 'fields'> }[],
  ): void {
    const parts = records.flatMap(({ record: { value, fields } }) => [value, fields])
    this.shows(
      connection,
      mapName,
      parts.filter((part) => typeof part === 'object'),
    )
  }

  #speakerOf(connection: Connection): Speaker {
    let speaker = this.#speakers.get(connection)
    if (speaker === undefined) this.#speakers.set(connection, (speaker = { asked: [], claims: undefined }))
    return speaker
  }
}

/** A frame as text in which names and texts of its values can be found. */
function textOf(frame: Frame): string {
  return typeof frame === 'string' ? frame : Buffer.from(frame).toString('latin1')
}
