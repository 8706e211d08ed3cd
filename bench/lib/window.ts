// One measured stretch of time of a server under load.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { median } from './histogram.ts'
import type { Remote, Usage } from './processes.ts'
import { profileReport } from './profile.ts'
import type { Settings } from './suite.ts'

/** What the load generator saw, and what both sides used meanwhile. */
export interface Window<Seen> {
  readonly seen: Seen
  readonly server: Usage
  readonly load: Usage
}

/** Lets a load run warm, then measures. The load generator answers `begin` and `read`. */
export async function measureWindow<Seen>(
  server: Remote,
  load: Remote,
  settings: Settings,
  log: (line: string) => void,
): Promise<Window<Seen>> {
  await pause(settings.warmUpMs)
  if (settings.isProfile) await server.call('startProfile')
  await Promise.all([load.mark(), server.mark(), load.call('begin')])
  await pause(settings.durationMs)
  const [seen, serverUsage, loadUsage] = await Promise.all([load.call<Seen>('read'), server.usage(), load.usage()])
  if (settings.isProfile) {
    const folder = mkdtempSync(join(tmpdir(), 'syncline-bench-'))
    const file = join(folder, 'server.cpuprofile')
    await server.call('stopProfile', file)
    for (const line of profileReport(file)) log(line)
    rmSync(folder, { recursive: true, force: true })
  }
  return { seen, server: serverUsage, load: loadUsage }
}

/** A window in which so much was done in a second. */
export interface Rated extends Window<unknown> {
  readonly rate: number
}

/** What a server does in a second of its CPU time. Its own threads count too. */
export function perCpuSecond({ rate, server }: Rated): number {
  return (rate * server.elapsedMs) / server.cpuMs
}

/**
 * What a server does as a share of what another one does, in a second of CPU time: medians over rounds. On a machine
 * with other work by wall clock it would say who was disturbed more.
 */
export function shareOf(windows: readonly Rated[], others: readonly Rated[]): number {
  return median(windows.map((window, i) => perCpuSecond(window) / perCpuSecond(others[i] as Rated)))
}

/** How busy both sides were, and how far apart the rounds lie. */
export function usageNote(windows: readonly Rated[]): string {
  const busy = (side: 'server' | 'load'): string =>
    `${Math.round(median(windows.map((window) => (window[side].cpuMs * 100) / window[side].elapsedMs)))} %`
  const rates = windows.map(({ rate }) => rate)
  const spread = `${Math.round(((Math.max(...rates) - Math.min(...rates)) * 100) / median(rates))} %`
  return `CPU server ${busy('server')}, load ${busy('load')}${windows.length < 2 ? '' : `; spread ${spread}`}`
}

/** One window as a line. */
export function windowLine(window: Rated): string {
  const thousands = (value: number): string => `${(value / 1000).toFixed(1)}k`
  return `${thousands(window.rate)}/s, ${thousands(perCpuSecond(window))} per s of CPU, ${usageNote([window])}`
}

/** Waits. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
