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

/** How busy both sides were, and what the server did in one second of CPU: the figure that neighbours disturb least. */
export function usageNote(windows: readonly (Window<unknown> & { readonly rate: number })[]): string {
  const busy = (side: 'server' | 'load'): string =>
    `${Math.round(median(windows.map((window) => (window[side].cpuMs * 100) / window[side].elapsedMs)))} %`
  const perCpu = median(windows.map(({ rate, server }) => (rate * server.elapsedMs) / server.cpuMs))
  const rates = windows.map(({ rate }) => rate)
  const spread = `${Math.round(((Math.max(...rates) - Math.min(...rates)) * 100) / median(rates))} %`
  return `${(perCpu / 1000).toFixed(0)}k per s of CPU; CPU server ${busy('server')}, load ${busy('load')}${
    windows.length < 2 ? '' : `; spread ${spread}`
  }`
}

/** Waits. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
