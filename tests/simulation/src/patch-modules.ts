import { registerHooks } from 'node:module'
import type { Mutant } from './mutants.ts'

/**
 * Changes modules as they are loaded from now on. Throws, when a module is loaded, if the text to be replaced is not in
 * it exactly once: the product has moved on, and the mutant has to be written anew.
 */
export function patchModules({ name, patches = [] }: Mutant): void {
  if (patches.length === 0) return
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context)
      const due = patches.filter(({ file }) => url.endsWith(`/${file}`))
      if (due.length === 0) return loaded
      let source =
        typeof loaded.source === 'string' ? loaded.source : new TextDecoder().decode(loaded.source ?? undefined)
      for (const { file, from, to } of due) {
        if (source.split(from).length !== 2)
          throw new Error(
            `Mutant '${name}' no longer fits ${file}: the text that it replaces is not there exactly once.`,
          )
        source = source.replace(from, () => to)
      }
      return { ...loaded, source }
    },
  })
}
