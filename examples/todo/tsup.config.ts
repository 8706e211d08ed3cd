import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { defineConfig } from 'tsup'

const pageFolder = 'src/page'
const outFolder = 'dist'
const files = ['app.js', ...readdirSync(pageFolder)]
/** Stands in the built service worker until all that it keeps is built. */
const unnamed = 'version'.repeat(2)

/** Names the service worker's cache by what is kept in it. */
async function nameVersion(): Promise<void> {
  const hash = createHash('sha256')
  for (const name of files) hash.update(readFileSync(join(outFolder, name)))
  const worker = join(outFolder, 'sw.js')
  writeFileSync(worker, readFileSync(worker, 'utf8').replace(unnamed, hash.digest('hex').slice(0, unnamed.length)))
}

export default defineConfig({
  entry: { app: 'src/main.ts', sw: 'src/sw.ts' },
  outDir: outFolder,
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
  define: { VERSION: JSON.stringify(unnamed), FILES: JSON.stringify(['/', ...files.map((name) => `/${name}`)]) },
  onSuccess: nameVersion,
})
