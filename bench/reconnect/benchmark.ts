// Catching up after an absence: by cursor, and by digests alone.
import { median } from '../lib/histogram.ts'
import { startProcess } from '../lib/processes.ts'
import { CONFIGURATION, startSyncline } from '../lib/servers.ts'
import type { Row, Settings, Suite } from '../lib/suite.ts'
import type { Seen, Snapshot } from './load.ts'

const RECORDS = 100_000
const CHANGED = 0.01
/** Each round catches up so often by each way. */
const REPEATS = 5
const KIB = 1_024

interface Repeat extends Seen {
  readonly serverCpuMs: number
  readonly clientCpuMs: number
}

interface MeasuredSnapshot extends Snapshot {
  readonly serverCpuMs: number
}

interface Round {
  readonly snapshots: Readonly<Record<'json' | 'msgpack', MeasuredSnapshot>>
  readonly cursor: readonly Repeat[]
  readonly trie: readonly Repeat[]
}

/** Bytes, round trips and milliseconds until a client that was away holds what the server does. */
export const suite: Suite = {
  name: 'reconnect',
  title: `a map of 100,000 records of about 100 bytes, of which 1 % changed; MessagePack; ${CONFIGURATION}`,
  async run(settings, log) {
    const rounds: Round[] = []
    for (let round = 0; round < settings.rounds; round++) {
      const measured = await measure(settings)
      rounds.push(measured)
      const { snapshots, cursor, trie } = measured
      log(
        `snapshot ${Math.round(snapshots.msgpack.ms)} ms, cursor ${cursor.map(({ ms }) => ms.toFixed(0)).join(' ')} ms, trie ${trie.map(({ ms }) => ms.toFixed(0)).join(' ')} ms`,
      )
    }
    return rowsOf(rounds)
  },
}

async function measure({ isQuick }: Settings): Promise<Round> {
  const server = await startSyncline()
  const load = await startProcess(new URL('load.ts', import.meta.url), {}, { core: 'load' })
  try {
    await load.call('seed', { port: await server.call<number>('port'), records: RECORDS })
    const snapshot = async (encoding: 'json' | 'msgpack'): Promise<MeasuredSnapshot> => {
      await server.mark()
      const seen = await load.call<Snapshot>('snapshot', { encoding })
      const { cpuMs: serverCpuMs } = await server.usage()
      await load.call('verify')
      return { ...seen, serverCpuMs }
    }
    const json = await snapshot('json')
    const msgpack = await snapshot('msgpack')
    const repeat = async (by: 'cursor' | 'trie'): Promise<Repeat[]> => {
      const all: Repeat[] = []
      for (let i = 0; i < (isQuick ? 2 : REPEATS); i++) {
        await load.call('change', { share: CHANGED })
        await Promise.all([server.mark(), load.mark()])
        const seen = await load.call<Seen>('reconnect', { by })
        const [{ cpuMs: serverCpuMs }, { cpuMs: clientCpuMs }] = await Promise.all([server.usage(), load.usage()])
        await load.call('verify')
        all.push({ ...seen, serverCpuMs, clientCpuMs })
      }
      return all
    }
    return { snapshots: { json, msgpack }, cursor: await repeat('cursor'), trie: await repeat('trie') }
  } finally {
    await Promise.all([load.stop(), server.stop()])
  }
}

function rowsOf(rounds: readonly Round[]): Row[] {
  const snapshot = (encoding: 'json' | 'msgpack', which: keyof MeasuredSnapshot): number =>
    median(rounds.map(({ snapshots }) => snapshots[encoding][which]))
  const seen = (by: 'cursor' | 'trie', which: keyof Repeat): number =>
    median(rounds.flatMap((round) => round[by].map((one) => one[which])))
  const parts = (by: 'cursor' | 'trie'): string => {
    const cpu = `CPU server ${seen(by, 'serverCpuMs').toFixed(0)} ms, client ${seen(by, 'clientCpuMs').toFixed(0)} ms`
    return `${seen(by, 'msWithConnect').toFixed(0)} ms with connect and AUTH; ${cpu}`
  }
  const snapshotNote = (encoding: 'json' | 'msgpack'): string => {
    const [server, client] = [snapshot(encoding, 'serverCpuMs'), snapshot(encoding, 'cpuMs')]
    const megabytes = (snapshot(encoding, 'bytes') / 1e6).toFixed(1)
    return `${megabytes} MB; CPU server ${server.toFixed(0)} ms, client ${client.toFixed(0)} ms`
  }
  const changed = seen('cursor', 'changedBytes')
  const cursorBytes = seen('cursor', 'bytes')
  return [
    {
      name: 'first snapshot',
      figure: snapshot('msgpack', 'ms'),
      unit: 'ms',
      note: snapshotNote('msgpack'),
    },
    {
      name: 'first snapshot, JSON',
      figure: snapshot('json', 'ms'),
      unit: 'ms',
      goal: 2_000,
      ratio: { of: 'JSON.parse', value: snapshot('json', 'ms') / snapshot('json', 'parseMs') },
      note: snapshotNote('json'),
    },
    { name: 'changed records', figure: changed, unit: 'bytes' },
    {
      name: 'by cursor: bytes',
      figure: cursorBytes,
      unit: 'bytes',
      goal: 1.3 * changed + 16 * KIB,
      ratio: { of: 'changed records', value: cursorBytes / changed },
    },
    { name: 'by cursor: pages, 1 round trip', figure: seen('cursor', 'pages'), unit: 'pages' },
    { name: 'by cursor', figure: seen('cursor', 'ms'), unit: 'ms', goal: 60, note: parts('cursor') },
    { name: 'by trie: bytes', figure: seen('trie', 'bytes'), unit: 'bytes', goal: 1_000_000 },
    { name: 'by trie: round trips', figure: seen('trie', 'trips'), unit: 'trips', goal: 5 },
    { name: 'by trie', figure: seen('trie', 'ms'), unit: 'ms', goal: 120, note: parts('trie') },
  ]
}
