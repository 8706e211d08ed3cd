import { defineConfig, rolldown, type InputOptions } from 'rolldown'

const input: InputOptions = {
  input: { index: 'src/index.ts' },
  platform: 'neutral',
  // Core and protocol are part of the package: bundlers of applications then see one module that is loaded at once.
  resolve: { conditionNames: ['@syncline/source', 'import', 'default'] },
}

/**
 * One file that is loaded at once, and one for each feature that comes late. Left to themselves bundlers make a file of
 * what each combination of features shares, and an application loads several at once that it compresses one by one.
 */
export default defineConfig(async () => {
  const atOnce = await modulesAtOnce()
  return {
    ...input,
    preserveEntrySignatures: 'allow-extension',
    output: {
      dir: 'dist',
      cleanDir: true,
      sourcemap: true,
      // Their modules have the same names: a file is named after its feature.
      chunkFileNames: ({ name, facadeModuleId }) =>
        `${/\/features\/([^/]+)\//.exec(facadeModuleId ?? '')?.[1] ?? name}.js`,
      codeSplitting: {
        includeDependenciesRecursively: false,
        groups: [{ name: 'client', test: (id) => atOnce.has(id) }],
      },
    },
  }
})

/** The modules of which something is used before anything is loaded late, but for the entry. */
async function modulesAtOnce(): Promise<ReadonlySet<string>> {
  const isLate = { name: 'late', resolveDynamicImport: (id: unknown) => ({ id: String(id), external: true }) }
  const bundle = await rolldown({ ...input, plugins: [isLate] })
  const { output } = await bundle.generate()
  await bundle.close()
  const ids = output.flatMap((file) => (file.type === 'chunk' ? file.moduleIds : []))
  return new Set(ids.filter((id) => !id.endsWith('/client/src/index.ts')))
}
