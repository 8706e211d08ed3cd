import { ERRORS, clientMessageSchemas, serverMessageSchemas } from '@syncline/protocol'
import { shown } from './failure.ts'
import { vectorsOf } from './vectors.ts'
import type { Outcome } from './run.ts'
import type { Encoding, Received } from './wire.ts'

interface Fault {
  readonly expected: string
  readonly seen: string
}

const schemas = serverMessageSchemas as Readonly<
  Record<
    string,
    {
      safeParse(value: unknown): {
        success: boolean
        error?: { issues: readonly { path: readonly PropertyKey[]; message: string }[] }
      }
    }
  >
>

/** Those of the table, and that of RFC 6455 for an end in order. */
const CLOSE_CODES = new Set([1_000, ...vectorsOf('close-codes').map(({ code }) => code as number)])

/** Looks at every message that came in any check: what holds for all of them. */
export class Observer {
  readonly #faults = new Map<string, Fault>()
  readonly #types = new Map<Encoding, Set<string>>()
  #count = 0
  #errors = 0
  #closes = 0

  look(received: readonly Received[]): void {
    for (const { message, encoding } of received) {
      this.#count++
      const { type } = message
      this.#types.set(encoding, (this.#types.get(encoding) ?? new Set()).add(type))
      const schema = Object.hasOwn(schemas, type) ? schemas[type] : undefined
      if (schema === undefined) {
        const known = Object.hasOwn(clientMessageSchemas, type)
          ? 'a message that servers send'
          : 'a type of message that the rules name'
        this.#fault('FR12', encoding, known, shown(message))
        continue
      }
      const parsed = schema.safeParse(message)
      if (!parsed.success) {
        const [issue] = parsed.error?.issues ?? []
        this.#fault(
          'FR12',
          encoding,
          `a ${type} that is valid under its schema`,
          `${issue?.path.join('.')}: ${issue?.message} in ${shown(message)}`,
        )
      }
      if (type === 'ERROR') this.#lookAtError(encoding, message.payload ?? {})
    }
  }

  /** A server ended a connection. */
  closed(code: number, encoding: Encoding): void {
    this.#closes++
    if (!CLOSE_CODES.has(code)) this.#fault('CL1', encoding, 'a code of the table of close codes', String(code))
  }

  /** What held for all messages, in each encoding. */
  outcomes(encodings: readonly Encoding[]): readonly Outcome[] {
    const titles = {
      FR12: `each of ${this.#count} messages that came is valid under the schema of its type`,
      ER1: `each of ${this.#errors} errors that came has a code of the table, with its status`,
      ER2: 'each of them says in a sentence what is wrong',
      CL1: `each of ${this.#closes} connections that the server closed has a code of the table`,
    }
    return (['FR12', 'ER1', 'ER2', 'CL1'] as const).flatMap((rule) =>
      encodings.map((encoding): Outcome => {
        const fault = this.#faults.get(`${rule} ${encoding}`)
        const about = { group: 'All messages', rule, title: titles[rule], encoding, ms: 0 }
        return fault === undefined ? { ...about, status: 'passed' } : { ...about, status: 'failed', ...fault }
      }),
    )
  }

  #lookAtError(encoding: Encoding, { errorCode, code, message }: Readonly<Record<string, unknown>>): void {
    this.#errors++
    const row =
      typeof errorCode === 'string' && Object.hasOwn(ERRORS, errorCode)
        ? ERRORS[errorCode as keyof typeof ERRORS]
        : undefined
    if (row === undefined) this.#fault('ER1', encoding, 'a code of the table of errors', shown(errorCode))
    else if (row.status !== code)
      this.#fault('ER1', encoding, `the status ${row.status} for ${String(errorCode)}`, shown(code))
    if (typeof message !== 'string' || message === '') this.#fault('ER2', encoding, 'a sentence', shown(message))
  }

  #fault(rule: string, encoding: Encoding, expected: string, seen: string): void {
    const key = `${rule} ${encoding}`
    if (!this.#faults.has(key)) this.#faults.set(key, { expected, seen })
  }
}
