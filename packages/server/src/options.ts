import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Env, LogLevel } from '@syncline/core'
import type { StorageAdapter } from '@syncline/storage'
import * as z from 'zod'
import type { FeatureDefinition } from './feature.ts'
import type { PermissionPolicy } from './inbound/authorize.ts'
import { problemsOf } from './option-problems.ts'

const policySchema: z.ZodType<PermissionPolicy> = z.strictObject({
  role: z
    .string()
    .min(1)
    .describe(
      'Who has it in the `roles` of the token; `USER` is everyone whose token names none. `ADMIN` may do everything, without a policy.',
    ),
  mapNamePattern: z
    .string()
    .regex(/^(?:[^*]+|[^*]*\*)$/, 'must be a name, or end in its only *')
    .describe(
      'A name, `*`, or the beginning of names and `*`; `{userId}` is the id of who asks. `topic:NAME`, `room:NAME`, `lock:NAME` and `counter:NAME` are names too.',
    ),
  actions: z
    .array(z.enum(['READ', 'PUT', 'REMOVE', 'ALL']))
    .min(1)
    .describe(
      'READ, PUT, REMOVE, or ALL. A lock takes PUT; a topic READ to subscribe and PUT to publish; a room READ to see, PUT to be seen.',
    ),
  allowedFields: z
    .array(z.string())
    .optional()
    .describe('The only fields that may be read or written. Without it, or with `*` in it, all.'),
}) as z.ZodType<PermissionPolicy>

const connectionsSchema = z.strictObject({
  backlog: z
    .int()
    .positive()
    .default(511)
    .describe('Connections that the operating system queues before they are accepted.'),
  compression: z.boolean().default(false).describe('Per-message deflate. Costs about seven times the CPU.'),
  maxPayload: z.int().positive().default(67_108_864).describe('Largest frame after authentication, in bytes.'),
  maxConnections: z
    .int()
    .positive()
    .default(10_000)
    .describe('Connections at once. Those beyond are refused with HTTP 503.'),
  serverTimeout: z
    .int()
    .nonnegative()
    .default(120_000)
    .describe('Milliseconds that an HTTP request may take to arrive, and its connection may be silent. 0 is no limit.'),
  keepAliveTimeout: z
    .int()
    .nonnegative()
    .default(5_000)
    .describe('Milliseconds that an HTTP connection is kept for another request. 0 is no limit.'),
  headersTimeout: z
    .int()
    .nonnegative()
    .default(60_000)
    .describe('Milliseconds that the headers of an HTTP request may take to arrive. 0 is no limit.'),
  idleTimeout: z
    .int()
    .positive()
    .default(60_000)
    .describe('Milliseconds of silence after which a connection is closed.'),
  authTimeout: z.int().positive().default(30_000).describe('Milliseconds that a connection may stay unauthenticated.'),
  maxOutboundBytes: z
    .int()
    .positive()
    .default(1_048_576)
    .describe('Unread bytes above which a slow connection is closed.'),
  inboxFrames: z
    .int()
    .positive()
    .default(1_000)
    .describe('Frames that wait for one connection before reading from it pauses.'),
  maxInboundBytes: z
    .int()
    .positive()
    .default(134_217_728)
    .describe('Bytes of frames that wait for all connections before reading from each that waits pauses.'),
})

const coalescingSchema = z.strictObject({
  enabled: z
    .boolean()
    .default(true)
    .describe('Join what one turn sends to a socket into one write. Otherwise each message is a write of its own.'),
  maxBatch: z
    .int()
    .positive()
    .default(100)
    .describe('Messages in one MessagePack BATCH frame. With that many, a draining socket is not waited for.'),
  maxDelayMs: z
    .int()
    .nonnegative()
    .default(5)
    .describe('Longest that what is for a socket which is still draining waits for more.'),
  maxBytes: z
    .int()
    .positive()
    .default(65_536)
    .describe('Bytes in one BATCH frame, and unsent bytes above which a socket counts as draining.'),
})

const rateLimitingSchema = z.strictObject({
  enabled: z.boolean().default(true).describe('Limit the rate of new connections, and what one may ask for.'),
  maxConnectionsPerSecond: z
    .int()
    .positive()
    .default(100)
    .describe('New connections in one second. Those beyond are refused with HTTP 503.'),
  maxPendingConnections: z.int().positive().default(1_000).describe('Connections that are not authenticated yet.'),
  maxCostPerSecond: z
    .int()
    .positive()
    .default(500_000)
    .describe('Records that queries and comparisons of one connection may look at in a second. Writes cost nothing.'),
  maxCostAtOnce: z
    .int()
    .positive()
    .default(5_000_000)
    .describe('The same, for a connection that asked for little before. What goes beyond it is RATE_LIMITED.'),
})

const schema = z.strictObject({
  port: z.int().min(0).max(65_535).default(0).describe('TCP port to listen on. 0 takes any free one.'),
  host: z.string().default('0.0.0.0').describe('Address to bind.'),
  listen: z
    .boolean()
    .default(true)
    .describe('Listen on host and port. Not needed where the server is attached to another.'),
  path: z
    .string()
    .startsWith('/')
    .default('/ws')
    .describe('Path of the WebSocket endpoint. On its own port, `/ws` and `/` work as well.'),
  mode: z.enum(['production', 'development']).default('production').describe('Production denies what is not allowed.'),
  auth: z.enum(['jwt', 'none']).default('jwt').describe('How clients say who they are. `none` runs open.'),
  jwtSecret: z.string().optional().describe('Secret that tokens are signed with (HS256). At least 32 characters.'),
  securityPolicies: z.array(policySchema).optional().describe('What roles may do on which maps.'),
  maxClockDriftMs: z
    .int()
    .nonnegative()
    .default(60_000)
    .describe('How far ahead of the server a stamp may be, in milliseconds.'),
  maxUnstoredBytes: z
    .int()
    .positive()
    .default(134_217_728)
    .describe('Bytes of changes that storage has not taken yet above which writes are refused OVERLOADED.'),
  gcIntervalMs: z
    .int()
    .positive()
    .max(2_147_483_647)
    .default(60_000)
    .describe('Milliseconds between two looks for records whose time to live has passed and for old deletions.'),
  tombstoneRetentionDays: z
    .number()
    .positive()
    .default(30)
    .describe('Days for which deletions are kept. A device that was away for longer gets its maps anew.'),
  shutdownTimeoutMs: z.int().positive().default(30_000).describe('How long a stop waits for what is under way.'),
  connections: connectionsSchema.prefault({}),
  writeCoalescing: coalescingSchema.prefault({}),
  rateLimiting: rateLimitingSchema.prefault({}),
})

/** What the kernel takes beside the options of features. */
export interface KernelOptions extends z.input<typeof schema> {
  /** Where records are kept. Without it the server runs in memory. */
  readonly storage?: StorageAdapter
  /** Least level of narration on stderr. Default `info`. */
  readonly logLevel?: LogLevel
  /** Time, chance and narration. The real ones by default. */
  readonly env?: Env
  /** Names this node in stamps. Default: a new one for each run. */
  readonly nodeId?: string
  /** Answers HTTP requests that Syncline has no endpoint for. Default: 404. */
  readonly onRequest?: (request: IncomingMessage, response: ServerResponse) => void
  /** Called after a failure that leaves no other way than to end. Default: exits the process with code 70. */
  readonly onFatal?: (error: Error) => void
}

/** Members of `KernelOptions` that are handed on as they are. */
const HANDED_ON = ['storage', 'features', 'logLevel', 'env', 'nodeId', 'onRequest', 'onFatal'] as const

type CamelCase<Name extends string> = Name extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name

/** The options of features, each group under the feature's name in camelCase. */
export type OptionsOf<Features extends readonly FeatureDefinition[]> = {
  // Of a feature whose name is not known before it runs nothing can be said.
  readonly [F in Features[number] as string extends F['name'] ? never : CamelCase<F['name']>]?: z.input<F['options']>
}

/** Options with every default filled in. */
export interface ResolvedOptions extends z.output<typeof schema> {
  readonly features: readonly ResolvedFeature[]
}

/** A feature that is to run, and its options. */
export interface ResolvedFeature {
  readonly definition: FeatureDefinition
  readonly options: Readonly<Record<string, unknown>>
}

/** Options that cannot be used, all of them, a sentence each. */
export class OptionsError extends Error {
  readonly problems: readonly string[]
  constructor(problems: readonly string[]) {
    super(`The server cannot start with these options:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`)
    this.name = 'OptionsError'
    this.problems = problems
  }
}

const WELL_KNOWN_SECRETS: ReadonlySet<string> = new Set([
  'topgun-secret-dev',
  'test-e2e-secret',
  'secret',
  'changeme',
  'your-256-bit-secret',
  'a-string-secret-at-least-256-bits-long',
])
const MIN_SECRET_LENGTH = 32

/**
 * Checks options and fills in defaults: those of the kernel, and a group for each feature that is to run. Throws
 * `OptionsError` with every problem at once.
 */
export function resolveOptions(options: KernelOptions, features: unknown): ResolvedOptions {
  const [definitions, featureProblems] = checkFeatures(features)
  const whole = optionsSchema(definitions)
  const given: Record<string, unknown> = { ...options }
  for (const name of HANDED_ON) delete given[name]
  const parsed = whole.safeParse(given)
  if (!isStorage(options.storage))
    featureProblems.push(
      'storage is no adapter: give what sqliteStorage({ path }) of @syncline/storage/sqlite returns.',
    )
  const problems = parsed.success ? [] : parsed.error.issues.flatMap((issue) => problemsOf(whole, issue))
  problems.push(...secretProblems(options), ...featureProblems)
  if (!parsed.success || problems.length > 0) throw new OptionsError(problems)
  const values: Readonly<Record<string, unknown>> = parsed.data
  return {
    ...(parsed.data as unknown as z.output<typeof schema>),
    features: definitions.map((definition) => ({
      definition,
      options: values[optionNameOf(definition)] as ResolvedFeature['options'],
    })),
  }
}

/** All options but those that are handed on as they are: the kernel's, and a group for each feature. */
export function optionsSchema(definitions: readonly FeatureDefinition[]): z.ZodObject {
  return schema.extend(
    Object.fromEntries(
      definitions.map((definition) => [optionNameOf(definition), definition.options.strict().prefault({})]),
    ),
  )
}

/** What an operator must know of options that work. */
export function warningsOf({ auth, mode, securityPolicies }: ResolvedOptions): string[] {
  if (auth === 'none') return ["Anyone may connect and write: the server runs with auth: 'none'"]
  if (securityPolicies !== undefined) return []
  const isOpen = mode === 'development'
  const effect = isOpen ? 'every signed-in user may read and write every map' : 'only administrators may read or write'
  return [`No securityPolicies are set: ${effect}`]
}

/** What is wrong with the secret, also where other options are wrong: all problems are told at once. */
function secretProblems({ auth, mode, jwtSecret }: KernelOptions): string[] {
  if (auth === 'none' || (jwtSecret !== undefined && typeof jwtSecret !== 'string')) return []
  if (jwtSecret === undefined || jwtSecret === '') {
    return [
      "jwtSecret is missing: give a random text of at least 32 characters, or auth: 'none' to run without authentication.",
    ]
  }
  if (mode === 'development') return []
  if (WELL_KNOWN_SECRETS.has(jwtSecret))
    return ['jwtSecret is a well-known one that anybody could sign with: give a random text.']
  if (jwtSecret.length < MIN_SECRET_LENGTH) {
    return [`jwtSecret has ${jwtSecret.length} characters: give at least ${MIN_SECRET_LENGTH} random ones.`]
  }
  return []
}

function isStorage(storage: Partial<StorageAdapter> | null | undefined): boolean {
  return storage === undefined || typeof storage?.open === 'function'
}

/** `merkle-sync` takes its options as `merkleSync`. */
function optionNameOf({ name }: FeatureDefinition): string {
  return name.replaceAll(/-([a-z\d])/g, (_, letter: string) => letter.toUpperCase())
}

const FEATURE_NAME = /^[a-z][a-z\d]*(?:-[a-z\d]+)*$/

/** The features that can run, and what is wrong with the others. */
function checkFeatures(features: unknown): [FeatureDefinition[], string[]] {
  if (!Array.isArray(features)) return [[], ['features: give a list of what defineFeature returns.']]
  const definitions = new Map<string, FeatureDefinition>()
  const problems: string[] = []
  for (const [index, feature] of (features as Partial<FeatureDefinition>[]).entries()) {
    const problem = problemOf(feature, definitions)
    if (problem !== undefined) problems.push(`features.${index} ${problem}`)
    else definitions.set(optionNameOf(feature as FeatureDefinition), feature as FeatureDefinition)
  }
  return [[...definitions.values()], problems]
}

function problemOf(
  feature: Partial<FeatureDefinition> | null | undefined,
  others: ReadonlyMap<string, FeatureDefinition>,
): string | undefined {
  const { name, options, start } = feature ?? {}
  if (typeof start !== 'function') return 'is no feature: give what defineFeature returns.'
  if (typeof name !== 'string' || !FEATURE_NAME.test(name)) {
    return `is named ${JSON.stringify(name)}: give a name of lower-case letters, digits and single hyphens.`
  }
  if (!(options instanceof z.ZodObject)) return `('${name}') declares no options: give it a z.object, be it empty.`
  const optionName = optionNameOf(feature as FeatureDefinition)
  if (optionName in schema.shape || (HANDED_ON as readonly string[]).includes(optionName)) {
    return `is named '${name}', under which the server has options of its own: give it another name.`
  }
  if (others.has(optionName)) return `is named '${name}', as another feature is: give it another name.`
  return undefined
}
