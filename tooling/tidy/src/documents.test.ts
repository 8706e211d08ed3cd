import { dirname, join, normalize } from 'node:path'
import { describe, expect, test } from 'vitest'
import { at, exists, filesLike, members, read, readManifest } from './repository.ts'

const documents = filesLike(/\.md$/).filter((path) => !/(?:^|\/)CHANGELOG\.md$/.test(path))
const withoutCode = (text: string): string =>
  text.replaceAll(/^(```|~~~)[\s\S]*?^\1/gm, (block) => block.replaceAll(/[^\n]/g, '')).replaceAll(/`[^`\n]*`/g, '')

/** GitHub's anchor of a heading. */
const anchorOf = (heading: string): string =>
  heading
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-')

const anchorsOf = (path: string): string[] =>
  [...read(path).matchAll(/^#+ (.+)$/gm)].map(([, heading]) => anchorOf(heading ?? ''))

function problemOfLink(document: string, link: string): string | undefined {
  if (/^(?:https?|mailto):/.test(link)) return undefined
  const [path = '', anchor] = link.split('#')
  const target = path === '' ? document : normalize(join(dirname(document), decodeURI(path))).replace(/^\.$/, '')
  if (!exists(target)) return `${link} leads nowhere`
  if (anchor === undefined || !target.endsWith('.md')) return undefined
  return anchorsOf(target).includes(anchor) ? undefined : `${link}: ${target} has no heading of that name`
}

test('there are documents', () => {
  expect(documents).toContain('README.md')
})

describe.each(documents)('%s', (document) => {
  test('has links that resolve', () => {
    const problems = withoutCode(read(document))
      .split('\n')
      .flatMap((line, index) =>
        [...line.matchAll(/\]\(([^)\s]+)(?: "[^"]*")?\)/g)].flatMap(([, link]) => {
          const problem = problemOfLink(document, link ?? '')
          return problem === undefined ? [] : [at(document, index + 1, problem)]
        }),
      )
    expect(problems).toEqual([])
  })

  test('shows only commands that exist', () => {
    const problems = commandsOf(read(document)).flatMap((command) => {
      const problem = problemOfCommand(command)
      return problem === undefined ? [] : [`${document}: ${command}: ${problem}`]
    })
    expect(problems).toEqual([])
  })
})

/** The commands in the shell blocks of a document, without prompts, comments and settings of variables. */
function commandsOf(text: string): string[] {
  return [...text.matchAll(/^```(?:sh|bash|shell|console)\n([\s\S]*?)^```/gm)]
    .flatMap(([, block]) => (block ?? '').split('\n'))
    .flatMap((line) =>
      line
        .replace(/^\$ /, '')
        .replace(/\s+#.*$/, '')
        .split(/ && | \| /),
    )
    .map((command) => command.trim().replace(/^(?:[A-Z_]+=\S+ )+/, ''))
    .filter((command) => command !== '' && !command.startsWith('#'))
}

const rootScripts = readManifest('package.json').scripts ?? {}
const ownCommandsOf: Readonly<Record<string, readonly string[]>> = {
  npm: ['install', 'ci', 'pack', 'publish'],
  pnpm: ['install', 'add', 'pack', 'exec', 'changeset', 'publish'],
}

function problemOfCommand(command: string): string | undefined {
  const [program = '', ...words] = command.split(/\s+/)
  if (program === 'syncline' || (program === 'npx' && words[0] === 'syncline'))
    return problemOfSyncline(words.find((word) => /^[a-z]+$/.test(word) && word !== 'syncline'))
  const own = ownCommandsOf[program]
  if (own === undefined) return undefined
  let scripts: Readonly<Record<string, string>> = rootScripts
  const filter = words.findIndex((word) => word === '--filter' || word === '-F')
  if (filter >= 0) {
    const [, name = ''] = words.splice(filter, 2)
    const member = members.find(({ manifest }) => manifest.name === name)
    if (member === undefined) return `there is no package ${name}`
    scripts = member.manifest.scripts ?? {}
  }
  const script = words[0] === 'run' ? words[1] : words[0]
  if (script === undefined || script.startsWith('-')) return undefined
  if (Object.hasOwn(scripts, script)) return undefined
  return words[0] !== 'run' && own.includes(script) ? undefined : `there is no script "${script}"`
}

function problemOfSyncline(command: string | undefined): string | undefined {
  if (command === undefined) return undefined
  const cli = filesLike(/^apps\/server\/src\/.*\.ts$/)
  return cli.some((path) => new RegExp(`['"\`]${command}\\b`).test(read(path)))
    ? undefined
    : `the CLI has no command "${command}"`
}
