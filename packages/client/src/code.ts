/** Code that is loaded when it is first needed, once for all clients of a page. */
export interface Code<Module> {
  /** It, if it is here. */
  readonly module: Module | undefined
  /** Loads it. Rejects where it cannot be had: offline, or replaced by a newer build. The next call tries again. */
  load(): Promise<Module>
}

/** Makes code that `load`, an `import()`, brings. */
export function code<Module>(load: () => Promise<Module>): Code<Module> {
  let module: Module | undefined
  return {
    get module() {
      return module
    },
    load: async () => (module ??= await load()),
  }
}
