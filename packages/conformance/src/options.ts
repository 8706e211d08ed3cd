import { parseArgs } from 'node:util'
import type { Encoding } from './wire.ts'

/** How the command is used. */
export const usage = `Shows which rules of the Syncline protocol a server or a client keeps.

  npx @syncline/conformance ws://localhost:8080/ws [options]     a server
  npx @syncline/conformance client [options] -- COMMAND ...      a client: README.md says what the command has to do

  --token T          a token of a user who may read and write everything
  --secret S         the secret that signs the server's tokens (HS256): shows more than a token
  --searched M.F     a map that the server searches, and one of its searched fields
  --encoding E       json, msgpack or both (the default)
  --only RULES       these rules alone: LK3, or LK for all that begin so; several with commas
  --timeout MS       longest wait for what must come (default 5000)
  --json             the outcome of each check as JSON

Exit code: 0 every rule that could be seen holds, 1 one does not, 2 the command, or the token in it, is no good,
3 nobody answers, or no Syncline server.
The checks of a server write to maps with names of their own, which nobody else uses, and remove what they wrote.
`

/** What to examine, and how to tell it. */
export interface CommandOptions {
  readonly subject:
    | {
        readonly kind: 'server'
        readonly url: string
        readonly searched?: { readonly map: string; readonly field: string }
        readonly token?: string
        readonly secret?: string
        readonly encodings: readonly Encoding[]
      }
    | { readonly kind: 'client'; readonly command: readonly string[] }
  readonly only: readonly string[]
  readonly timeoutMs: number
  readonly isJson: boolean
}

/** Reads the command line. */
export function readOptions(
  args: readonly string[],
): CommandOptions | { readonly problem: string } | { readonly help: true } {
  let parsed
  try {
    parsed = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        token: { type: 'string' },
        secret: { type: 'string' },
        searched: { type: 'string' },
        encoding: { type: 'string', default: 'both' },
        only: { type: 'string', multiple: true, default: [] },
        timeout: { type: 'string', default: '5000' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) }
  }
  const { values, positionals } = parsed
  if (values.help) return { help: true }
  const only = values.only.flatMap((rules) => rules.split(',')).map((rule) => rule.trim().toUpperCase())
  const unreadable = only.find((rule) => !/^[A-Z]{2,4}\d*$/.test(rule))
  if (unreadable !== undefined) {
    return { problem: `${unreadable} is no rule: --only takes ids such as LK3, or beginnings such as LK.` }
  }
  const timeoutMs = Number(values.timeout)
  if (!(timeoutMs > 0)) return { problem: `--timeout is a number of milliseconds, not ${values.timeout}.` }
  const subject = subjectOf(positionals, values)
  return 'problem' in subject ? subject : { subject, only, timeoutMs, isJson: values.json }
}

function subjectOf(
  [first, ...others]: readonly string[],
  {
    encoding,
    token,
    secret,
    searched,
  }: { readonly encoding: string; readonly token?: string; readonly secret?: string; readonly searched?: string },
): CommandOptions['subject'] | { readonly problem: string } {
  if (first === 'client') {
    if (others.length > 0) return { kind: 'client', command: others }
    return { problem: 'Which client? Give the command that drives it after --, such as client -- python3 driver.py.' }
  }
  if (first === undefined) return { problem: 'Which server? Give its address, such as ws://localhost:8080/ws.' }
  if (others.length > 0) return { problem: `One server at a time: ${others.join(' ')} is too much.` }
  if (!/^wss?:\/\/./.test(first)) {
    return { problem: `${first} is no address of a WebSocket: it begins with ws:// or wss://.` }
  }
  const known: Readonly<Record<string, readonly Encoding[]>> = {
    json: ['json'],
    msgpack: ['msgpack'],
    both: ['json', 'msgpack'],
  }
  const encodings = Object.hasOwn(known, encoding) ? known[encoding] : undefined
  if (encodings === undefined) return { problem: `--encoding is json, msgpack or both, not ${encoding}.` }
  const [, map, field] = /^(.+)\.([^.]+)$/.exec(searched ?? '') ?? []
  if (searched !== undefined && (map === undefined || field === undefined)) {
    return { problem: `--searched is a map and one of its fields, such as articles.text, not ${searched}.` }
  }
  const keys = { ...(token === undefined ? {} : { token }), ...(secret === undefined ? {} : { secret }) }
  return {
    kind: 'server',
    url: first,
    encodings,
    ...keys,
    ...(map === undefined || field === undefined ? {} : { searched: { map, field } }),
  }
}
