import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import { defineFeature, type FeatureDefinition } from './feature.ts'
import { builtInFeatures, type ServerOptions } from './features.ts'
import { OptionsError, resolveOptions } from './options.ts'
import { createServer } from './server.ts'
import { SECRET } from './testing/harness.ts'

function problemsOf(options: ServerOptions): readonly string[] {
  try {
    resolveOptions(options, options.features ?? builtInFeatures)
    return []
  } catch (error) {
    if (error instanceof OptionsError) return error.problems
    throw error
  }
}

describe('the secret', () => {
  test.each<[string, ServerOptions, RegExp]>([
    ['none in production', {}, /^jwtSecret is missing: .*auth: 'none'/],
    ['none in development', { mode: 'development' }, /missing/],
    ['an empty one', { jwtSecret: '' }, /missing/],
    ['a short one', { jwtSecret: 'x'.repeat(31) }, /31 characters.*at least 32/],
    ['a well-known one', { jwtSecret: 'topgun-secret-dev' }, /well-known/],
    ['a well-known long one', { jwtSecret: 'a-string-secret-at-least-256-bits-long' }, /well-known/],
    ['one that is no text', { jwtSecret: 5 as never }, /jwtSecret/],
  ])('%s is refused in one sentence', (_, options, sentence) => {
    expect(problemsOf(options)).toEqual([expect.stringMatching(sentence)])
  })

  test.each<[string, ServerOptions]>([
    ['a long one', { jwtSecret: SECRET }],
    ['any in development', { jwtSecret: 'topgun-secret-dev', mode: 'development' }],
    ["none with auth: 'none', spelled out", { auth: 'none' }],
  ])('%s is taken', (_, options) => {
    expect(problemsOf(options)).toEqual([])
  })
})

describe('problems', () => {
  test('are told all at once, misspelled names with what was meant', () => {
    const options = {
      prot: 8080,
      jwtSecert: SECRET,
      jwtSecret: 'short',
      host: 5,
      connections: { maxPaylod: 1, backlog: -1, completelyUnknownThing: true },
      rateLimiting: { maxConnectionPerSecond: 5 },
      securityPolicies: [
        { role: 'USER', mapNamePattern: 'm', actions: ['FLY'] },
        { role: 'USER', mapNamePattern: 'm', mapNamePatern: 'm', actions: ['ALL'] },
      ],
      features: [1],
    } as unknown as ServerOptions
    const problems = problemsOf(options)
    const saying = (...words: string[]): boolean =>
      problems.some((problem) => words.every((word) => problem.includes(word)))
    expect(saying('prot is no option', 'did you mean port?')).toBe(true)
    expect(saying('jwtSecert is no option', 'did you mean jwtSecret?')).toBe(true)
    expect(saying('jwtSecret has 5 characters')).toBe(true)
    expect(saying('host')).toBe(true)
    expect(saying('connections.maxPaylod', 'did you mean connections.maxPayload?')).toBe(true)
    expect(saying('connections.backlog')).toBe(true)
    expect(problems.find((problem) => problem.includes('completelyUnknownThing'))).not.toContain('did you mean')
    expect(saying('rateLimiting.maxConnectionPerSecond', 'did you mean rateLimiting.maxConnectionsPerSecond?')).toBe(
      true,
    )
    expect(saying('securityPolicies.0.actions.0')).toBe(true)
    expect(saying('securityPolicies.1.mapNamePatern', 'did you mean securityPolicies.1.mapNamePattern?')).toBe(true)
    expect(saying('features.0 is no feature', 'defineFeature')).toBe(true)
    expect(problems).toHaveLength(11)
  })

  test('name a pattern that would match nothing, and a storage that is none', () => {
    const policies = (...patterns: string[]): ServerOptions => ({
      jwtSecret: SECRET,
      securityPolicies: patterns.map((mapNamePattern) => ({ role: 'USER', mapNamePattern, actions: ['ALL'] })),
    })
    expect(problemsOf(policies('*', 'todos', 'notes/{userId}', 'notes/{userId}/*', 'room:*'))).toEqual([])
    for (const pattern of ['*:todos', 'a*b', '**', '']) {
      expect(problemsOf(policies(pattern))).toEqual([
        expect.stringMatching(/mapNamePattern: must be a name, or end in/),
      ])
    }
    for (const storage of ['sqlite:data.db', {}, null]) {
      expect(problemsOf({ auth: 'none', storage } as never)).toEqual([
        expect.stringMatching(/storage is no adapter.*sqliteStorage/),
      ])
    }
  })

  test('say what the option is', () => {
    expect(
      problemsOf({ jwtSecret: SECRET, connections: { maxConnections: 'many' } } as unknown as ServerOptions),
    ).toEqual([
      'connections.maxConnections: expected number, received string. It is: Connections at once. Those beyond are refused with HTTP 503.',
    ])
    expect(problemsOf({ jwtSecret: SECRET, securityPolicies: {} } as unknown as ServerOptions)).toEqual([
      'securityPolicies: expected array, received object. It is: What roles may do on which maps.',
    ])
  })

  test('are in the message of the error, a line each', () => {
    const error = new OptionsError(['one', 'two'])
    expect(error.message).toBe('The server cannot start with these options:\n  - one\n  - two')
    expect(error.name).toBe('OptionsError')
  })
})

describe('defaults', () => {
  test('are those of the documents', () => {
    const { connections, writeCoalescing, rateLimiting, mode, auth, path, maxClockDriftMs } = resolveOptions(
      { jwtSecret: SECRET },
      [],
    )
    expect({ mode, auth, path, maxClockDriftMs }).toEqual({
      mode: 'production',
      auth: 'jwt',
      path: '/ws',
      maxClockDriftMs: 60_000,
    })
    expect(connections).toMatchObject({ backlog: 511, compression: false, maxPayload: 67_108_864, idleTimeout: 60_000 })
    expect(writeCoalescing).toEqual({ enabled: true, maxBatch: 100, maxDelayMs: 5, maxBytes: 65_536 })
    expect(rateLimiting).toMatchObject({ enabled: true, maxConnectionsPerSecond: 100, maxPendingConnections: 1_000 })
  })
})

describe('the options of features', () => {
  const metered = defineFeature({
    name: 'metered-things',
    options: z.object({
      perUser: z.int().positive().default(3).describe('Things that one user may have.'),
      maps: z.record(z.string(), z.strictObject({ fields: z.array(z.string()) })).default({}),
    }),
    start: () => ({ handlers: {} }),
  })
  const needy = defineFeature({
    name: 'needy',
    options: z.object({ address: z.string().describe('Where it is.') }),
    start: () => ({ handlers: {} }),
  })

  test('stand under their names in camelCase, with defaults where nothing is given', () => {
    const given = { auth: 'none', queries: { maxResultRows: 7 } } as const
    const { features } = resolveOptions(given, [...builtInFeatures, metered])
    const values = Object.fromEntries(features.map(({ definition, options }) => [definition.name, options]))
    expect(values).toMatchObject({
      maps: {},
      queries: { maxResultRows: 7 },
      'metered-things': { perUser: 3, maps: {} },
    })
  })

  test('are refused in the same words as those of the kernel, all at once', () => {
    const options = {
      auth: 'none',
      queries: { maxResultRow: 5 },
      querys: {},
      meteredThings: { perUser: 0, maps: { todos: { field: [] } } },
      features: [...builtInFeatures, metered, needy],
    } as unknown as ServerOptions
    expect(problemsOf(options).toSorted()).toEqual([
      'meteredThings.maps.todos.field is no option; did you mean meteredThings.maps.todos.fields?',
      'meteredThings.maps.todos.fields: expected array, received undefined',
      'meteredThings.perUser: Too small: expected number to be >0. It is: Things that one user may have.',
      'needy.address: expected string, received undefined. It is: Where it is.',
      'queries.maxResultRow is no option; did you mean queries.maxResultRows?',
      'querys is no option; did you mean queries?',
    ])
  })

  test('have a name that nothing else has', () => {
    const named = (name: string): FeatureDefinition => ({ ...metered, name })
    const features = [
      named('connections'),
      named('storage'),
      named('Bad Name'),
      metered,
      metered,
      { ...metered, options: {} },
    ]
    expect(problemsOf({ auth: 'none', features: features as FeatureDefinition[] })).toEqual([
      "features.0 is named 'connections', under which the server has options of its own: give it another name.",
      "features.1 is named 'storage', under which the server has options of its own: give it another name.",
      'features.2 is named "Bad Name": give a name of lower-case letters, digits and single hyphens.',
      "features.4 is named 'metered-things', as another feature is: give it another name.",
      "features.5 ('metered-things') declares no options: give it a z.object, be it empty.",
    ])
  })

  test('of an app are typed as those of the server are', () => {
    const features = [...builtInFeatures, metered] as const
    createServer({ auth: 'none', features, meteredThings: { perUser: 5 }, queries: { maxResultRows: 5 } })
    // @ts-expect-error -- a wrong type of a built-in feature's option
    expect(() => createServer({ auth: 'none', queries: { maxResultRows: 'many' } })).toThrow(OptionsError)
    // @ts-expect-error -- a wrong type of the app's own
    expect(() => createServer({ auth: 'none', features, meteredThings: { perUser: 'many' } })).toThrow(OptionsError)
    // @ts-expect-error -- a feature that does not run has no options
    expect(() => createServer({ auth: 'none', meteredThings: {} })).toThrow(OptionsError)
    const some: ServerOptions = { auth: 'none', features: [metered] }
    expect(createServer(some).state).toBe('starting')
  })
})
