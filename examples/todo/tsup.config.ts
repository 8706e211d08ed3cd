import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'tsup'

const pageFolder = 'src/page'

/** Different for every build whose result can differ: the service worker names its cache by it. */
function version(): string {
  const hash = createHash('sha256')
  const sources = readdirSync('src', { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const paths = sources.map((entry) => join(entry.parentPath, entry.name)).toSorted()
  for (const path of [...paths, fileURLToPath(import.meta.resolve('@syncline/client'))]) hash.update(readFileSync(path))
  return hash.digest('hex').slice(0, 12)
}

export default defineConfig({
  entry: { app: 'src/main.ts', sw: 'src/sw.ts' },
  format: ['esm'],
  target: 'es2022',
  platform: 'browser',
  noExternal: [/./],
  splitting: false,
  minify: true,
  sourcemap: true,
  clean: true,
  dts: false,
  publicDir: pageFolder,
  define: {
    VERSION: JSON.stringify(version()),
    FILES: JSON.stringify(['/', '/app.js', ...readdirSync(pageFolder).map((name) => `/${name}`)]),
  },
})
