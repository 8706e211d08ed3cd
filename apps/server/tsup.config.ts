import { cpSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig, type Options } from 'tsup'

/** What the files are made of carries licences, which have to come with them. */
const licences: NonNullable<Options['esbuildPlugins']>[number] = {
  name: 'licences',
  setup(build) {
    build.onEnd(({ metafile }) => {
      const folders = Object.keys(metafile?.inputs ?? {}).flatMap(
        (input) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input) ?? [],
      )
      // In a fresh clone nothing has made the folder before this.
      mkdirSync('dist', { recursive: true })
      writeFileSync('dist/LICENCES.txt', [...new Set(folders)].toSorted().map(licenceOf).join('\n'))
    })
  },
}

function licenceOf(folder: string): string {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Record<
    string,
    string
  >
  const [file] = globSync('LICEN[CS]E*', { cwd: folder })
  if (file === undefined) throw new Error(`${name} has no licence to come with it.`)
  return `${name} ${version}, ${license}\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n\n`
}

/** The page that `syncline dev` serves: built, it is a part of the command. */
function copyPage(): void {
  const todo = dirname(fileURLToPath(import.meta.resolve('@syncline/example-todo/package.json')))
  cpSync(join(todo, 'dist'), 'dist/todo', { recursive: true })
}

// Everything but what is native is in the files themselves: to find and to load two hundred of them takes as long as all
// the rest of a start. From sources, because of these the bundler leaves out what nobody uses.
export default defineConfig({
  entry: ['src/cli.ts', 'src/worker.ts'],
  format: ['esm'],
  target: 'es2023',
  platform: 'node',
  splitting: true,
  sourcemap: true,
  clean: true,
  dts: false,
  external: ['bufferutil'],
  esbuildPlugins: [licences],
  onSuccess: async () => copyPage(),
  esbuildOptions(options) {
    options.conditions = ['@syncline/source']
    options.mainFields = ['module', 'main']
    // For what is written in CommonJS and loads modules of Node.
    options.banner = {
      js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);",
    }
  },
})
