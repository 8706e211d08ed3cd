// Where a process spent its time, from a profile of V8. Run: node bench/lib/profile.ts FILE.cpuprofile
import { readFileSync } from 'node:fs'

interface ProfileNode {
  readonly id: number
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  readonly children?: readonly number[]
}

interface CpuProfile {
  readonly nodes: readonly ProfileNode[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

interface Cost {
  self: number
  total: number
}

/** The lines of a report: busy time, the parts of the program, and the functions by their own time and with callees. */
export function profileReport(file: string | URL, top = 40): string[] {
  const profile = JSON.parse(readFileSync(file, 'utf8')) as CpuProfile
  const nodesById = new Map(profile.nodes.map((node) => [node.id, node]))
  const parentById = new Map(profile.nodes.flatMap(({ id, children }) => (children ?? []).map((child) => [child, id])))
  const byFunction = new Map<string, Cost>()
  const byPart = new Map<string, Cost>()
  let busy = 0
  let whole = 0
  const timeById = new Map<number, number>()
  profile.samples.forEach((id, i) => timeById.set(id, (timeById.get(id) ?? 0) + (profile.timeDeltas[i] ?? 0)))
  for (const [id, time] of timeById) {
    whole += time
    const node = nodesById.get(id)
    if (node === undefined || isIdle(node)) continue
    busy += time
    const seen = new Set<string>()
    for (let at: ProfileNode | undefined = node; at !== undefined; at = nodesById.get(parentById.get(at.id) ?? -1)) {
      for (const [costs, name] of [
        [byFunction, functionOf(at)],
        [byPart, partOf(at)],
      ] as const) {
        const cost = costs.get(name) ?? { self: 0, total: 0 }
        if (at === node) cost.self += time
        if (!seen.has(name)) cost.total += time
        seen.add(name)
        costs.set(name, cost)
      }
    }
  }
  const share = (time: number): string => `${((time * 100) / busy).toFixed(1)} %`.padStart(8)
  const lines = [
    `busy ${(busy / 1e6).toFixed(2)} s of ${(whole / 1e6).toFixed(2)} s (${((busy * 100) / whole).toFixed(0)} %)`,
  ]
  const list = (title: string, costs: ReadonlyMap<string, Cost>, by: keyof Cost, count: number): void => {
    lines.push('', title, '    self    total')
    const sorted = [...costs].sort(([, a], [, b]) => b[by] - a[by]).slice(0, count)
    for (const [name, cost] of sorted) lines.push(`${share(cost.self)} ${share(cost.total)}  ${name}`)
  }
  list('parts, by their own time', byPart, 'self', 25)
  list('functions, by their own time', byFunction, 'self', top)
  list('functions, by time with callees', byFunction, 'total', top)
  return lines
}

/** Waiting, or starting the profiler itself. */
function isIdle({ callFrame: { functionName, url } }: ProfileNode): boolean {
  return functionName === '(idle)' || (functionName === 'post' && url === 'node:inspector')
}

function functionOf({ callFrame: { functionName, url, lineNumber } }: ProfileNode): string {
  const place = url === '' ? '' : `  ${shortUrl(url)}:${lineNumber + 1}`
  return `${functionName === '' ? '(anonymous)' : functionName}${place}`
}

/** The file inside its package; packages of this workspace and of others by name. */
function shortUrl(url: string): string {
  return url.replace(/^file:\/\//, '').replace(/^.*\/(?=(?:packages|apps|bench)\/)|^.*\/node_modules\//, '')
}

function partOf({ callFrame: { functionName, url } }: ProfileNode): string {
  if (url === '') return functionName.startsWith('(') ? functionName : 'native'
  if (url.startsWith('node:')) return url
  const short = shortUrl(url)
  return /^(?:packages|apps|bench)\//.test(short)
    ? short
    : short
        .split('/')
        .slice(0, short.startsWith('@') ? 2 : 1)
        .join('/')
}

if (import.meta.main) for (const line of profileReport(process.argv[2] ?? '')) console.log(line)
