// The side of a process that the runner started: answers its calls.
import { writeFileSync } from 'node:fs'
import { Session } from 'node:inspector/promises'
import { getHeapSpaceStatistics } from 'node:v8'

/** What a process can be asked for, by name. `stop` is called before it ends. */
export type Answers = Readonly<Record<string, (args: never) => unknown>>

/** The arguments that the runner started this process with. */
export function processArguments(): unknown {
  return JSON.parse(process.argv[2] ?? '{}')
}

/** Answers the runner's calls until it asks to stop or is gone. */
export function answer(answers: Answers): void {
  const profiler = new Session()
  let markedAt = performance.now()
  let markedCpu = process.cpuUsage()
  const all: Answers = {
    ready: () => undefined,
    mark() {
      markedAt = performance.now()
      markedCpu = process.cpuUsage()
    },
    usage() {
      const { user, system } = process.cpuUsage(markedCpu)
      const elapsedMs = performance.now() - markedAt
      const { rss, heapUsed } = process.memoryUsage()
      const young = getHeapSpaceStatistics().find((space) => space.space_name === 'new_space')
      return {
        elapsedMs,
        cpuMs: (user + system) / 1000,
        rssBytes: rss,
        heapBytes: heapUsed,
        youngBytes: young?.physical_space_size ?? 0,
      }
    },
    async startProfile() {
      profiler.connect()
      await profiler.post('Profiler.enable')
      await profiler.post('Profiler.setSamplingInterval', { interval: 200 })
      await profiler.post('Profiler.start')
    },
    async stopProfile(file: string) {
      const { profile } = await profiler.post('Profiler.stop')
      writeFileSync(file, JSON.stringify(profile))
    },
    ...answers,
  }
  process.on('message', (message: { id: number; name: string; args: unknown }) => void take(message))
  process.once('disconnect', () => process.exit(1))
  async function take({ id, name, args }: { id: number; name: string; args: unknown }): Promise<void> {
    try {
      const value = await all[name]?.(args as never)
      process.send?.({ id, value }, undefined, undefined, () => {
        if (name === 'stop') process.exit(0)
      })
    } catch (error) {
      process.send?.({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
    }
  }
}
