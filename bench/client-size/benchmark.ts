// Bytes that a browser loads, minified and compressed.
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import type { Row, Suite } from '../lib/suite.ts'

const CLIENT = new URL('../../packages/client/src/index.ts', import.meta.url)

const BUNDLES = [
  { name: 'minimal: createClient', entry: new URL('minimal.ts', import.meta.url), goal: 12 },
  { name: 'full: everything', entry: new URL('full.ts', import.meta.url), goal: 25 },
] as const

/** Kilobytes of a bundle of the client, from source. */
export const suite: Suite = {
  name: 'client-size',
  title: 'the client bundled by esbuild for browsers, minified and gzipped',
  async run(settings, log) {
    if (!existsSync(CLIENT)) {
      log('skipped: packages/client is not written yet.')
      return []
    }
    const rows: Row[] = []
    for (const { name, entry, goal } of BUNDLES) {
      if (settings.only !== undefined && !name.includes(settings.only)) continue
      rows.push({ name, unit: 'kB', goal, ...(await sizeOf(entry)) })
    }
    return rows
  },
}

async function sizeOf(entry: URL): Promise<{ figure: number; note: string }> {
  const { outputFiles, metafile } = await build({
    entryPoints: [fileURLToPath(entry)],
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2023',
    conditions: ['@syncline/source'],
    logLevel: 'silent',
  })
  const bytes = outputFiles[0]?.contents ?? new Uint8Array()
  const compressed = gzipSync(bytes, { level: 9 }).length
  return {
    figure: compressed / 1000,
    note: `${(bytes.length / 1000).toFixed(1)} kB minified; ${partsOf(Object.values(metafile.outputs)[0]?.inputs ?? {})}`,
  }
}

/** Which packages the minified bytes come from. */
function partsOf(inputs: Readonly<Record<string, { readonly bytesInOutput: number }>>): string {
  const bytesByPart = new Map<string, number>()
  for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
    const part =
      /packages\/([^/]+)\//.exec(path)?.[1] ??
      /node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules)/.exec(path)?.[1] ??
      'bundle'
    bytesByPart.set(part, (bytesByPart.get(part) ?? 0) + bytesInOutput)
  }
  return [...bytesByPart]
    .filter(([, bytes]) => bytes > 0)
    .sort(([, a], [, b]) => b - a)
    .map(([part, bytes]) => `${part} ${(bytes / 1000).toFixed(1)}`)
    .join(', ')
}
