// Writes the folders and list lines of a new feature: its messages in the protocol, the server's folder, the client's
// handle. What it writes asks the server a question and gets an answer; it type-checks, lints, and its tests pass.
// Change it into what the feature is for.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('../..', import.meta.url))

/** Writes the feature `name` into the workspace at `root`. Answers the paths of what it wrote. Throws where it cannot. */
export function newFeature(name, root = here) {
  if (!/^[a-z][a-z\d]*(?:-[a-z\d]+)*$/.test(name ?? '')) {
    throw new Error(
      'Usage: pnpm new:feature NAME, where NAME is lower-case words joined by hyphens, such as read-receipts.',
    )
  }
  if (existsSync(join(root, `packages/server/src/features/${name}`)))
    throw new Error(`There is a feature ${name} already.`)
  const words = name.split('-')
  const pascal = words.map((word) => word[0].toUpperCase() + word.slice(1)).join('')
  const names = { name, pascal, camel: pascal[0].toLowerCase() + pascal.slice(1), upper: words.join('_').toUpperCase() }
  // All lines are found before anything is written: a list that has changed its form leaves nothing half done.
  const lists = listsOf(names).map(([path, ...edits]) => [
    path,
    edits.reduce((text, edit) => edited(path, text, edit), read(root, path)),
  ])
  return [...Object.entries(filesOf(names)), ...lists].map(([path, text]) => {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
    return path
  })
}

const read = (root, path) => readFileSync(join(root, path), 'utf8')

function edited(path, text, [anchor, added, where = 'after']) {
  const at = text.indexOf(anchor)
  if (at < 0)
    throw new Error(`${path} has no line ${JSON.stringify(anchor)} any more: correct tooling/scripts/new-feature.mjs.`)
  const from = where === 'before' ? at : at + anchor.length
  return text.slice(0, from) + added + text.slice(from)
}

/** The lists that name a feature: a path, and what is put after, or before, a line of it. */
const listsOf = ({ name, pascal, camel, upper }) => [
  [
    'packages/protocol/src/message.ts',
    ['', `import type { ${pascal}Answer, ${pascal}Ask } from './messages/${name}.ts'\n`],
    ['type OtherClientMessage =\n', `  | ${pascal}Ask\n`],
    ['export type ServerMessage<R = WireRecord> = Enveloped<\n', `  | ${pascal}Answer\n`],
  ],
  [
    'packages/protocol/src/message.schema.ts',
    ['', `import { ${camel}AnswerSchema, ${camel}AskSchema } from './messages/${name}.schema.ts'\n`],
    ['SchemasOf<ClientMessage | ItemOpMessage> = {\n', `  ${upper}_ASK: ${camel}AskSchema,\n`],
    ['SchemasOf<ServerMessage | ItemEventMessage> = {\n', `  ${upper}_ANSWER: ${camel}AnswerSchema,\n`],
  ],
  [
    'packages/protocol/src/read/client-message.ts',
    ["import { readRecord } from './record.ts'\n", `import { read${pascal}Ask } from './${name}.ts'\n`, 'before'],
    ['const READERS: Readonly<Record<string, Reader>> = {\n', `  ${upper}_ASK: read${pascal}Ask,\n`],
  ],
  [
    'packages/protocol/src/read/server-message.ts',
    [
      "import { lockShapes } from './shapes/locks.ts'\n",
      `import { ${camel}Shapes } from './shapes/${name}.ts'\n`,
      'before',
    ],
    ['  lockShapes,\n', `  ${camel}Shapes,\n`],
  ],
  [
    'packages/protocol/src/codec/json.ts',
    [
      "export { lockShapes } from '../read/shapes/locks.ts'\n",
      `export { ${camel}Shapes } from '../read/shapes/${name}.ts'\n`,
    ],
  ],
  [
    'packages/protocol/src/index.ts',
    [
      "export { LIMITS } from './limits.ts'\n",
      `export type { ${pascal}Answer, ${pascal}Ask } from './messages/${name}.ts'\n`,
    ],
  ],
  [
    'packages/protocol/src/read/read.test.ts',
    [
      "    COUNTER_REQUEST: { type: 'COUNTER_REQUEST', payload: { name: 'votes' } },\n",
      `    ${upper}_ASK: { type: '${upper}_ASK', payload: { requestId: 'r', text: 'hello' } },\n`,
    ],
    [
      '    COUNTER_REQUEST: fc.record({',
      `    ${upper}_ASK: fc.record({ requestId: maybe(fc.string()), text: maybe(fc.string()) }),\n`,
      'before',
    ],
  ],
  ['packages/protocol/test/documents/replies.ts', ["  PING: ['PONG'],\n", `  ${upper}_ASK: ['${upper}_ANSWER'],\n`]],
  [
    'packages/server/src/features.ts',
    [
      "import type { KernelOptions, OptionsOf } from './options.ts'\n",
      `import { ${camel} } from './features/${name}/index.ts'\n`,
      'before',
    ],
    ['] as const satisfies readonly FeatureDefinition[]', `  ${camel},\n`, 'before'],
  ],
  [
    'packages/client/src/features.ts',
    [
      "import { locks } from './features/locks/index.ts'\n",
      `import { ${camel} } from './features/${name}/handle.ts'\n`,
    ],
    ['  locks.code,\n', `  ${camel}.code,\n`],
  ],
  [
    'packages/client/src/client.ts',
    [
      "import { locks } from './features/locks/index.ts'\n",
      `import { ${camel} } from './features/${name}/handle.ts'\n`,
    ],
    ['    lock: handles(locks),\n', `    ${camel}: handles(${camel})('${camel}', undefined),\n`],
  ],
  [
    'packages/client/src/client-api.ts',
    [
      "import type { SyncMap } from './features/maps/handle.ts'\n",
      `import type { ${pascal} } from './features/${name}/handle.ts'\n`,
    ],
    ['  readonly pending: PendingWrites\n', `  readonly ${camel}: ${pascal}\n`],
  ],
  [
    'packages/client/src/index.ts',
    ['export type { SyncState } from', `export type { ${pascal} } from './features/${name}/handle.ts'\n`, 'before'],
  ],
]

/** The files of the feature, by path. */
const filesOf = ({ name, pascal, camel, upper }) => ({
  [`packages/protocol/src/messages/${name}.ts`]: `/** C→S. Asks. */
export interface ${pascal}Ask {
  readonly type: '${upper}_ASK'
  readonly payload: {
    /** Names the question in its answer. */
    readonly requestId: string
    /** What is asked. */
    readonly text: string
  }
}

/** S→C. Answers ${upper}_ASK: the text, and how often the server has been asked. */
export interface ${pascal}Answer {
  readonly type: '${upper}_ANSWER'
  readonly payload: {
    /** The question that this answers. */
    readonly requestId: string
    /** What was asked. */
    readonly text: string
    /** How often the server was asked. */
    readonly count: number
  }
}
`,
  [`packages/protocol/src/messages/${name}.schema.ts`]: `import * as z from 'zod'
import { count, id, wrapped } from './common.schema.ts'
import type { ${pascal}Answer, ${pascal}Ask } from './${name}.ts'

/** The schema of ${upper}_ASK. */
export const ${camel}AskSchema: z.ZodType<${pascal}Ask> = wrapped(
  '${upper}_ASK',
  z.object({ requestId: id, text: z.string() }),
)

/** The schema of ${upper}_ANSWER. */
export const ${camel}AnswerSchema: z.ZodType<${pascal}Answer> = wrapped(
  '${upper}_ANSWER',
  z.object({ requestId: id, text: z.string(), count }),
)
`,
  [`packages/protocol/src/read/${name}.ts`]: `import type { ${pascal}Ask } from '../messages/${name}.ts'
import { readId, readText, type Fields } from './fields.ts'

/** Reads a ${upper}_ASK. Its id may also be the one of the message as a whole. */
export function read${pascal}Ask(fields: Fields, messageId: string | undefined): ${pascal}Ask {
  const requestId =
    fields['requestId'] === undefined && messageId !== undefined ? messageId : readId(fields, 'requestId')
  return { type: '${upper}_ASK', payload: { requestId, text: readText(fields, 'text') } }
}
`,
  [`packages/protocol/src/read/shapes/${name}.ts`]: `import type { Shapes } from '../server-message.ts'

/** The messages by which a server answers who asks. */
export const ${camel}Shapes: Shapes = {
  flat: {},
  payload: { ${upper}_ANSWER: 'requestId:s text:s count:n' },
}
`,
  [`packages/server/src/features/${name}/index.ts`]: `import * as z from 'zod'
import { defineFeature } from '../../feature.ts'
import { ${camel}Handlers } from './handlers.ts'
import { ${pascal}Service } from './service.ts'

/** Answers who asks: ${upper}_ASK. */
export const ${camel} = defineFeature({
  name: '${name}',
  options: z.object({
    maxLength: z.int().positive().default(1_000).describe('Longest text that is answered, in UTF-16 code units.'),
  }),
  start(kernel, { maxLength }) {
    const service = new ${pascal}Service()
    kernel.metrics.gauge('syncline_${name.replaceAll('-', '_')}_answers', 'Questions that were answered.', () => service.count)
    return { handlers: ${camel}Handlers(kernel, service, maxLength), inspect: () => ({ count: service.count }) }
  },
})
`,
  [`packages/server/src/features/${name}/handlers.ts`]: `import type { Handlers, Kernel } from '../../feature.ts'
import type { ${pascal}Service } from './service.ts'

/** ${upper}_ASK. */
export function ${camel}Handlers({ limits }: Kernel, service: ${pascal}Service, maxLength: number): Handlers {
  return {
    ${upper}_ASK: {
      handle(_, { payload: { requestId, text } }) {
        if (text.length > maxLength) return { refuse: limits.refusal('${camel}.maxLength', maxLength, { code: 'TOO_LARGE' }) }
        return { type: '${upper}_ANSWER', payload: { requestId, text, count: service.answered() } }
      },
    },
  }
}
`,
  [`packages/server/src/features/${name}/service.ts`]: `/** Counts what was answered. */
export class ${pascal}Service {
  #count = 0

  get count(): number {
    return this.#count
  }

  /** Another question is answered. Says how many there were. */
  answered(): number {
    return ++this.#count
  }
}
`,
  [`packages/server/src/features/${name}/${name}.test.ts`]: `import { expect, test } from 'vitest'
import { startTestServer } from '../../testing/test-server.ts'

test('who asks is answered, in either encoding', async () => {
  await using server = await startTestServer()
  for (const [index, encoding] of (['json', 'msgpack'] as const).entries()) {
    const client = await server.connect({ encoding })
    client.send({ type: '${upper}_ASK', payload: { requestId: 'r', text: 'hello' } })
    expect((await client.take('${upper}_ANSWER')).payload).toEqual({ requestId: 'r', text: 'hello', count: index + 1 })
  }
})

test('a text that is too long is refused by the name of its limit', async () => {
  await using server = await startTestServer({ ${camel}: { maxLength: 3 } })
  const client = await server.connect()
  client.send({ type: '${upper}_ASK', payload: { requestId: 'r', text: 'hello' }, requestId: 'r' })
  expect((await client.take('ERROR')).payload).toMatchObject({
    errorCode: 'TOO_LARGE',
    details: { limit: '${camel}.maxLength', max: 3 },
  })
})
`,
  [`packages/server/src/features/${name}/README.md`]: `# ${name}

Answers who asks: ${upper}_ASK, ${upper}_ANSWER.

- A text may have \`${camel}.maxLength\` UTF-16 code units: a longer one is \`TOO_LARGE\`.
`,
  [`packages/client/src/features/${name}/handle.ts`]: `import { code } from '../../code.ts'
import type { LateDefinition } from '../../late.ts'
import type { WaitOptions } from '../../readable.ts'
import { members, promises } from '../../stand-in.ts'

/** Asks the server. */
export interface ${pascal} {
  /** What the server answers. Rejects with its refusal, OFFLINE, TIMEOUT, CLOSED or the signal's reason. */
  ask(text: string, options?: WaitOptions): Promise<string>
}

/** Its code is loaded when something is asked. */
export const ${camel}: LateDefinition<undefined, ${pascal}> = {
  code: code(() => import('./index.ts')),
  standIn: () => members<${pascal}>({ ask: promises }),
}
`,
  [`packages/client/src/features/${name}/index.ts`]: `import { ${camel}Shapes } from '@syncline/protocol/codec'
import type { Kernel } from '../../feature.ts'
import type { LateFeature } from '../../late.ts'
import type { ${pascal} } from './handle.ts'
import { ${pascal}Questions } from './state.ts'

/** Asks by ${upper}_ASK, again in each session until there is an answer. */
export function start(kernel: Kernel): LateFeature<undefined, ${pascal}> {
  const questions = new ${pascal}Questions(kernel)
  return {
    shapes: ${camel}Shapes,
    handlers: { ${upper}_ANSWER: ({ payload }) => questions.answered(payload.requestId, payload.text) },
    online: () => questions.sendAll(),
    open: () => questions,
  }
}
`,
  [`packages/client/src/features/${name}/state.ts`]: `import { SynclineError } from '../../errors.ts'
import type { Kernel } from '../../feature.ts'
import { waitFor, type WaitOptions } from '../../readable.ts'
import type { ${pascal} } from './handle.ts'

interface Question {
  readonly text: string
  readonly resolve: (answer: string) => void
  readonly reject: (error: unknown) => void
}

/** What was asked and is not answered. */
export class ${pascal}Questions implements ${pascal} {
  readonly #kernel: Kernel
  readonly #questions = new Map<string, Question>()

  constructor(kernel: Kernel) {
    this.#kernel = kernel
  }

  ask(text: string, options: WaitOptions = {}): Promise<string> {
    const { env, hasServer, turn } = this.#kernel
    const onTimeout = (): Error => new SynclineError('TIMEOUT', 'The server did not answer in time.')
    return waitFor<string>(env, options, onTimeout, (resolve, reject) => {
      if (!hasServer) reject(new SynclineError('OFFLINE', 'This client has no server: give it a url.'))
      const requestId = this.#kernel.newId()
      this.#questions.set(requestId, { text, resolve, reject })
      this.#send(requestId)
      const stop = turn.onClose(() => reject(new SynclineError('CLOSED', 'The client was closed.')))
      return () => {
        stop()
        this.#questions.delete(requestId)
      }
    })
  }

  /** A session has begun: what an earlier one left unanswered is asked again. */
  sendAll(): void {
    for (const requestId of this.#questions.keys()) this.#send(requestId)
  }

  answered(requestId: string, answer: string): void {
    this.#questions.get(requestId)?.resolve(answer)
  }

  #send(requestId: string): void {
    const question = this.#questions.get(requestId)
    if (question === undefined || !this.#kernel.isOnline) return
    this.#kernel.send({ type: '${upper}_ASK', payload: { requestId, text: question.text } }, question.reject)
  }
}
`,
  [`packages/client/src/features/${name}/${name}.test.ts`]: `import { startTestServer } from '@syncline/server/testing'
import { expect, test } from 'vitest'
import { createClient } from '../../index.ts'

test('what is asked before there is a connection is answered when there is', async () => {
  await using server = await startTestServer()
  await using client = createClient({ url: \`\${server.url}/ws\` })
  expect(await client.${camel}.ask('hello', { timeoutMs: 10_000 })).toBe('hello')
})

test('what the server refuses is a rejection, and without a server there is no answer', async () => {
  await using server = await startTestServer({ ${camel}: { maxLength: 3 } })
  await using client = createClient({ url: \`\${server.url}/ws\` })
  await expect(client.${camel}.ask('hello', { timeoutMs: 10_000 })).rejects.toMatchObject({ code: 'TOO_LARGE' })
  await using offline = createClient()
  await expect(offline.${camel}.ask('hello')).rejects.toMatchObject({ code: 'OFFLINE' })
})
`,
})

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    for (const path of newFeature(process.argv[2])) console.log(path)
    console.log(`
Then: pnpm format && pnpm typecheck && pnpm lint, and the tests of the three packages. What is left to write by hand:
- packages/protocol/SPEC.md, a rule with an id for all that the messages promise, and their examples in test/messages;
  pnpm --filter @syncline/protocol generate makes vectors and documents of them
- what the messages ask for in the leak matrix (server/src/inbound), bounds in telemetry/metrics.test.ts and the server's README
- a row for each message in docs/seed-map, a changeset, and the limits in .size-limit.json if the bundle grew`)
  } catch (error) {
    console.error(error.message)
    process.exitCode = 1
  }
}
