// What a suite is, and how often and how long it measures.

/** How a run measures. */
export interface Settings {
  /** Each thing is measured so often; medians are reported. */
  readonly rounds: number
  readonly warmUpMs: number
  readonly durationMs: number
  readonly isQuick: boolean
  /** Measures nothing: runs each server once under V8's profiler and prints where its time goes. */
  readonly isProfile: boolean
  /** Measures only what has this text in its name, and compares nothing. */
  readonly only: string | undefined
}

/** One figure of a suite. */
export interface Row {
  readonly name: string
  readonly figure: number
  readonly unit: '/s' | 'ms' | 'bytes' | 'trips' | 'pages' | 'kB'
  /** Least rate or greatest cost that must be reached. */
  readonly goal?: number
  /** What the server does in one second of its CPU time: the figure that neighbours on the machine disturb least. */
  readonly perCpuSecond?: number
  /** The figure as a share of another one of the same run. */
  readonly ratio?: { readonly of: string; readonly value: number; readonly goal?: number }
  /** Whatever helps to judge it: CPU use, spread. */
  readonly note?: string
}

/** A suite: one folder, one README, one set of baselines. */
export interface Suite {
  readonly name: string
  /** What was measured, in one line, with the configuration that differs from the server's defaults. */
  readonly title: string
  run(settings: Settings, log: (line: string) => void): Promise<readonly Row[]>
}

/** Says whether a row reaches its goals; undefined where it has none. */
export function isMet({ figure, goal, ratio, unit }: Row): boolean | undefined {
  const reached = (value: number, wanted: number | undefined): boolean | undefined =>
    wanted === undefined ? undefined : unit === '/s' ? value >= wanted : value <= wanted
  const results = [reached(figure, goal), ratio === undefined ? undefined : reached(ratio.value, ratio.goal)]
  if (results.every((result) => result === undefined)) return undefined
  return !results.includes(false)
}
