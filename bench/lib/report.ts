// The printed table, and the baselines that a suite keeps.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { arch, cpus, loadavg, platform } from 'node:os'
import { isMet, type Row } from './suite.ts'

/** What is kept of a row. */
export interface BaselineRow {
  readonly figure: number
  readonly perCpuSecond?: number
  readonly ratio?: number
}

/** The figures of an earlier run. */
export interface Baselines {
  readonly machine: string
  readonly date: string
  /** Of the machine when the run began. Well above 0 there was other work, and rates are those of what was left. */
  readonly loadAverage?: number
  readonly rows: Readonly<Record<string, BaselineRow>>
}

/** Names the machine and the runtime. */
export function machine(): string {
  const all = cpus()
  return `${all[0]?.model.trim() ?? 'unknown CPU'}, ${all.length} cores, ${platform()} ${arch()}, Node ${process.version}`
}

/** Processes that wanted to run in the last minute, on average. */
export function loadAverage(): number {
  return Number((loadavg()[0] ?? 0).toFixed(1))
}

/** Reads a suite's baselines. Without a file there are none. */
export function readBaselines(file: URL): Baselines | undefined {
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Baselines) : undefined
}

/** Keeps rows as the suite's baselines. Rows that were not measured stay. */
export function writeBaselines(file: URL, rows: readonly Row[], loadAverageBefore = loadAverage()): void {
  const measured = rows.map(({ name, figure, perCpuSecond, ratio }): [string, BaselineRow] => [
    name,
    {
      figure: rounded(figure),
      ...(perCpuSecond === undefined ? {} : { perCpuSecond: rounded(perCpuSecond) }),
      ...(ratio === undefined ? {} : { ratio: Number(ratio.value.toFixed(3)) }),
    },
  ])
  const baselines: Baselines = {
    machine: machine(),
    date: new Date().toISOString().slice(0, 10),
    loadAverage: loadAverageBefore,
    rows: { ...readBaselines(file)?.rows, ...Object.fromEntries(measured) },
  }
  writeFileSync(file, `${JSON.stringify(baselines, null, 2)}\n`)
}

/** Prints the rows beside their goals and baselines. Returns how many goals were missed. */
export function printTable(
  rows: readonly Row[],
  baselines: Baselines | undefined,
  print: (line: string) => void,
): number {
  const table = [['', 'figure', 'goal', 'baseline', 'per s of CPU', 'baseline', 'share', 'goal', '', '']]
  let missed = 0
  for (const row of rows) {
    const met = isMet(row)
    if (met === false) missed++
    const baseline = baselines?.rows[row.name]
    const rate = (value: number | undefined): string => (value === undefined ? '' : quantity(value, '/s'))
    table.push([
      row.name,
      quantity(row.figure, row.unit),
      row.goal === undefined ? '' : quantity(row.goal, row.unit),
      baseline === undefined ? '' : quantity(baseline.figure, row.unit),
      rate(row.perCpuSecond),
      rate(baseline?.perCpuSecond),
      row.ratio === undefined ? '' : `${percent(row.ratio.value)} of ${row.ratio.of}`,
      row.ratio?.goal === undefined ? '' : percent(row.ratio.goal),
      met === undefined ? '' : met ? 'met' : 'MISSED',
      row.note ?? '',
    ])
  }
  const widths = table[0]?.map((_, column) => Math.max(...table.map((cells) => cells[column]?.length ?? 0))) ?? []
  for (const cells of table) {
    const padded = cells.map((cell, column) =>
      isText(column) ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
    )
    print(padded.join('  ').trimEnd())
  }
  return missed
}

function isText(column: number): boolean {
  return column === 0 || column === 6 || column >= 8
}

function percent(share: number): string {
  return `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`
}

function quantity(value: number, unit: Row['unit']): string {
  const text =
    value >= 10_000 && unit !== 'bytes'
      ? `${(value / 1000).toFixed(1)}k`
      : value >= 100
        ? Math.round(value).toLocaleString('en')
        : String(rounded(value))
  return unit === '/s' ? `${text}/s` : `${text} ${unit}`
}

function rounded(value: number): number {
  return Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3))
}
