import { describe, expect, test } from 'vitest'
import { exists, files, read } from './repository.ts'

// A feature is one folder on the server, one file of messages in the protocol and one folder in the client. Those that
// differ stand here, with the reason: they have no messages of their own, no handle, or live in the client in a part of the
// road that every feature uses.
const withoutMessages: Readonly<Record<string, string>> = {
  admin: 'HTTP routes',
}
const clientFolderOf: Readonly<Record<string, string>> = {
  sessions: 'packages/client/src/session',
  'merkle-sync': 'packages/client/src/offline',
}
const withoutHandle: Readonly<Record<string, string>> = {
  'http-sync': 'for who polls over HTTP: this client has a WebSocket',
  partitions: 'every server takes every write, so that this client need not know who owns what',
  admin: 'the dashboard is its client',
}

const list = 'packages/server/src/features.ts'
const namesUnder = (folder: string, ending: RegExp): string[] => [
  ...new Set(
    files.flatMap((path) => {
      const [, name] = ending.exec(path.startsWith(folder) ? path.slice(folder.length) : '') ?? []
      return name === undefined ? [] : [name]
    }),
  ),
]

const serverFolders = namesUnder('packages/server/src/features/', /^([^/]+)\//)
const clientFolders = namesUnder('packages/client/src/features/', /^([^/]+)\//)
const messageFiles = namesUnder('packages/protocol/src/messages/', /^([\w-]+)\.ts$/)
const listed = exists(list)
  ? [...read(list).matchAll(/from '\.\/features\/([^/']+)\//g)].map(([, name]) => name ?? '')
  : []

// A side takes part from the moment that its entry point is written: until then there is nothing to match.
const sides = (folder: string): string[] => (exists(`packages/${folder}/src/index.ts`) ? [folder] : [])

test('the list of features names each once, and only what has a folder', () => {
  expect(listed.filter((name, index) => listed.indexOf(name) !== index || !serverFolders.includes(name))).toEqual([])
})

describe.each(sides('server'))('the list of the %s', () => {
  test('is features.ts', () => {
    expect(exists(list)).toBe(true)
  })

  test('names every folder of a feature, and nothing else', () => {
    expect(listed.toSorted()).toEqual(serverFolders.toSorted())
  })
})

describe.each(listed)('feature %s', (name) => {
  const folder = `packages/server/src/features/${name}`

  test('has its entry, its tests and its README', () => {
    expect([`${folder}/index.ts`, `${folder}/README.md`].filter((path) => !exists(path))).toEqual([])
    expect(files.some((path) => path.startsWith(`${folder}/`) && path.endsWith('.test.ts'))).toBe(true)
  })

  test.each(sides('protocol'))('has its messages in the %s', () => {
    expect(messageFiles.includes(name)).toBe(!Object.hasOwn(withoutMessages, name))
  })

  test.each(sides('client'))('has its handle in the %s', () => {
    const clientFolder = clientFolderOf[name] ?? `packages/client/src/features/${name}`
    if (Object.hasOwn(withoutHandle, name)) expect(clientFolders).not.toContain(name)
    else expect([clientFolder].filter((path) => !exists(path))).toEqual([])
  })
})

describe.each(sides('server'))('beside the %s', () => {
  test.each(sides('protocol'))('every file of messages in the %s belongs to a feature', () => {
    expect(messageFiles.filter((name) => !listed.includes(name))).toEqual([])
  })

  test.each(sides('client'))('every handle in the %s belongs to a feature', () => {
    expect(clientFolders.filter((name) => !listed.includes(name))).toEqual([])
  })
})
