// Bytes that a browser loads, minified and compressed.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build, type Plugin } from 'esbuild'
import type { Row, Suite } from '../lib/suite.ts'

const BUNDLES = [
  { name: 'minimal: createClient', entry: new URL('minimal.ts', import.meta.url), goal: 12 },
  { name: 'full: everything', entry: new URL('full.ts', import.meta.url), goal: 25 },
] as const

/** The parts that a profile leaves out, one at a time. What talks to the server is one of them, made of others. */
const PARTS: readonly (readonly [name: string, files: RegExp])[] = [
  ['client: connection', /client\/src\/transport\//],
  ['client: outbox', /client\/src\/session\/(outbox|backoff)/],
  [
    'client: what stands for features that come late',
    /client\/src\/(late|stand-in|code|features)\.ts|client\/src\/features\/(sets|counters|topics|rooms|locks|search|journal)\//,
  ],
  ['client: clock and identity of a tab', /client\/src\/session\/(clock|identity)/],
  ['client: following maps', /client\/src\/features\/merkle-sync\/index/],
  ['client: base, overlay, replicas', /client\/src\/offline\//],
  ['client: storage and memory()', /client\/src\/storage\//],
  ['client: maps and writes', /client\/src\/features\/maps\//],
  ['client: queries', /client\/src\/features\/queries\//],
  ['client: state, events, environment', /client\/src\/(status|events|env|errors|readable)\.ts/],
  ['protocol: reading and writing messages', /protocol\/src\/|client\/src\/inbound\//],
  ['core: records and merging', /core\/src\/crdt\//],
  ['core: values', /core\/src\/value\//],
  ['core: where and order', /core\/src\/query\//],
  ['core: clock', /core\/src\/clock\//],
  [
    'all that only talks to the server',
    /client\/src\/(transport\/|inbound\/|session\/(outbox|backoff)|features\/(merkle-sync|maps|queries)\/index)|protocol\/src\/(read|codec)\//,
  ],
]

interface Built {
  /** Minified, of what is loaded at once. */
  readonly bytes: number
  readonly compressed: number
  /** Compressed, of what is loaded by `import()` in the background. */
  readonly later: number
}

/** Kilobytes of a bundle of the client, as it is published; parts of it from source. */
export const suite: Suite = {
  name: 'client-size',
  title: 'what is loaded at once of the client, bundled by esbuild for browsers, minified and gzipped',
  async run(settings, log) {
    if (settings.isProfile) {
      for (const { name, entry } of BUNDLES.slice(0, 1)) await profile(name, entry, log)
      return []
    }
    const rows: Row[] = []
    const built = buildPackage()
    try {
      for (const { name, entry, goal } of BUNDLES) {
        if (settings.only !== undefined && !name.includes(settings.only)) continue
        const { bytes, compressed, later } = await bundle(entry, { '@syncline/client': join(built, 'index.js') })
        const note = `${kilobytes(later)} more later; ${kilobytes(bytes)} minified`
        rows.push({ name, unit: 'kB', goal, figure: compressed / 1000, note })
      }
    } finally {
      rmSync(built, { recursive: true })
    }
    return rows
  },
}

/** What the bundle would be without each of its parts. What they share, such as names, counts for none of them. */
async function profile(name: string, entry: URL, log: (line: string) => void): Promise<void> {
  const { compressed } = await bundle(entry, {}, [withoutLate])
  log(`${name}: ${kilobytes(compressed)}; less without`)
  for (const [part, files] of PARTS) {
    const rest = await bundle(entry, {}, [withoutLate, leavingOut(files)])
    log(`${kilobytes(compressed - rest.compressed).padStart(9)}  ${part}`)
  }
}

/** The folder in which the package is as it is published. */
function buildPackage(): string {
  const folder = mkdtempSync(join(tmpdir(), 'client-size-'))
  const client = fileURLToPath(new URL('../../packages/client', import.meta.url))
  execFileSync('pnpm', ['run', 'bundle', '--dir', folder], {
    cwd: client,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  return folder
}

async function bundle(entry: URL, alias: Record<string, string>, plugins: Plugin[] = []): Promise<Built> {
  const { outputFiles, metafile } = await build({
    entryPoints: [fileURLToPath(entry)],
    bundle: true,
    splitting: true,
    outdir: 'out',
    minify: true,
    write: false,
    metafile: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2023',
    conditions: ['@syncline/source'],
    alias,
    logLevel: 'silent',
    plugins,
  })
  const compressed = (path: string): number => {
    const file = outputFiles.find((output) => output.path.endsWith(path.replace(/^.*\//, '')))
    return gzipSync(file?.contents ?? new Uint8Array(), { level: 9 }).length
  }
  const atOnce = new Set<string>()
  const add = (path: string): void => {
    if (atOnce.has(path)) return
    atOnce.add(path)
    for (const { path: imported, kind } of metafile.outputs[path]?.imports ?? []) {
      if (kind === 'import-statement') add(imported)
    }
  }
  const all = Object.entries(metafile.outputs)
  for (const [path, { entryPoint }] of all) if (entryPoint?.includes('client-size/') === true) add(path)
  const sum = (which: readonly number[]): number => which.reduce((total, one) => total + one, 0)
  return {
    bytes: sum(all.filter(([path]) => atOnce.has(path)).map(([, { bytes }]) => bytes)),
    compressed: sum([...atOnce].map(compressed)),
    later: sum(all.filter(([path]) => !atOnce.has(path)).map(([path]) => compressed(path))),
  }
}

/** Leaves what is loaded later where it is, so that what is loaded at once is one file. */
const withoutLate: Plugin = {
  name: 'without-late',
  setup(bundler) {
    bundler.onResolve({ filter: /./ }, ({ kind, path }) =>
      kind === 'dynamic-import' ? { path, external: true } : undefined,
    )
  },
}

/** Puts nothing in the place of what some files export. */
function leavingOut(files: RegExp): Plugin {
  return {
    name: 'leave-out',
    setup(bundler) {
      bundler.onLoad({ filter: files }, ({ path }) => {
        const source = readFileSync(path, 'utf8')
        const names = [...source.matchAll(/^export (?:async )?(?:function|class|const) (\w+)/gm)].map(
          ([, name]) => name,
        )
        const others = [...source.matchAll(/^export \{[^}]*\} from .*$/gm)].map(([line]) => line)
        const own = names.map((name) => `export const ${name} = /* @__PURE__ */ globalThis.nothing`)
        return { contents: [...own, ...others].join('\n'), loader: 'ts', resolveDir: dirname(path) }
      })
    },
  }
}

function kilobytes(bytes: number): string {
  return `${(bytes / 1000).toFixed(1)} kB`
}
