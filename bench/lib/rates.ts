// Suites of rates: what a server does in a window under load, one work after another, round by round.
import { median } from './histogram.ts'
import { startProcess, type Remote } from './processes.ts'
import type { Row, Settings } from './suite.ts'
import { measureWindow, perCpuSecond, shareOf, usageNote, windowLine, type Window } from './window.ts'

/** One thing that is measured: a server on its core, and a load generator on the other. */
export interface Work {
  readonly name: string
  readonly start: () => Promise<Remote>
  /** The load generator. It answers `open`, `begin`, `read` and `close`. */
  readonly script: URL
  /** What the load generator is opened with, besides the server's port. */
  readonly load: object
  /** Looks at the server before the load comes. */
  readonly look?: (server: Remote) => Promise<void>
}

/** What every load generator says of a window. */
export interface Seen {
  readonly elapsedMs: number
  readonly p50Ms?: number
  readonly p99Ms?: number
}

/** One measured window of a work. */
export interface Round<S extends Seen> extends Window<S> {
  /** Things done per second. */
  readonly rate: number
}

/** What was measured of each work, and rows of it. */
export class Rates<S extends Seen> {
  readonly #rounds = new Map<string, Round<S>[]>()

  note(name: string, round: Round<S>): void {
    const rounds = this.#rounds.get(name)
    if (rounds === undefined) this.#rounds.set(name, [round])
    else rounds.push(round)
  }

  /** The rounds of a work. */
  of(name: string): readonly Round<S>[] {
    return this.#rounds.get(name) ?? []
  }

  /** Things done per second. */
  perSecond(name: string, rest: Partial<Row> = {}): Row {
    return {
      name,
      figure: median(this.of(name).map(({ rate }) => rate)),
      unit: '/s',
      perCpuSecond: median(this.of(name).map(perCpuSecond)),
      note: usageNote(this.of(name)),
      ...rest,
    }
  }

  /** How long one of them took. */
  latency(name: string, which: 'p50' | 'p99', goal?: number): Row {
    return {
      name: `${name}: ${which}`,
      figure: median(this.of(name).flatMap(({ seen }) => seen[`${which}Ms`] ?? [])),
      unit: 'ms',
      ...(goal === undefined ? {} : { goal }),
    }
  }

  /** What a work does as a share of what another one does, in a second of the server's CPU time. */
  share(name: string, of: string): number {
    return shareOf(this.of(name), this.of(of))
  }
}

/**
 * Measures each work in each round, or those alone that `--only` names, and makes rows of it all. There are none where
 * not everything was measured.
 */
export async function measureRates<S extends Seen>(
  works: readonly Work[],
  settings: Settings,
  log: (line: string) => void,
  {
    countOf,
    more,
    rowsOf,
  }: {
    /** Things done in a window. */
    readonly countOf: (seen: S) => number
    /** What else to say of a window in its line. */
    readonly more?: (seen: S, work: Work) => string
    readonly rowsOf: (rates: Rates<S>) => readonly Row[]
  },
): Promise<readonly Row[]> {
  const { rounds, isProfile, only } = settings
  const rates = new Rates<S>()
  for (let round = 0; round < rounds; round++) {
    for (const work of works) {
      if (only !== undefined && !work.name.includes(only)) continue
      const window = await measure<S>(work, settings, log)
      const measured = { ...window, rate: (countOf(window.seen) * 1_000) / window.seen.elapsedMs }
      rates.note(work.name, measured)
      log(`${work.name}: ${windowLine(measured)}${more?.(window.seen, work) ?? ''}`)
    }
  }
  return isProfile || only !== undefined ? [] : rowsOf(rates)
}

async function measure<S>(work: Work, settings: Settings, log: (line: string) => void): Promise<Window<S>> {
  const server = await work.start()
  const load = await startProcess(work.script, {}, { core: 'load' })
  try {
    await work.look?.(server)
    await load.call('open', { ...work.load, port: await server.call<number>('port') })
    const window = await measureWindow<S>(server, load, settings, log)
    await load.call('close')
    return window
  } finally {
    await Promise.all([load.stop(), server.stop()])
  }
}

/** The latencies of a window, for its line. */
export function latencyLine({ p50Ms, p99Ms }: Seen): string {
  return `; p50 ${p50Ms} ms, p99 ${p99Ms} ms`
}
