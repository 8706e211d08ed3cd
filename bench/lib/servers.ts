// Starts the servers that are measured, each in a process of its own on the server's core.
import type { ServerOptions } from '@syncline/server'
import type { BareServerArguments } from './bare-server.ts'
import { startProcess, type Remote } from './processes.ts'
import type { SynclineServerArguments } from './syncline-server.ts'

/** Signs the tokens of a run. The servers that know it listen on loopback, for as long as the run lasts. */
export const BENCH_SECRET = 'for servers that live as long as a measurement'

/** As in production, but for the number and the rate of connections: everybody of a run comes from one machine at once. */
const OPTIONS: ServerOptions = {
  host: '127.0.0.1',
  jwtSecret: BENCH_SECRET,
  securityPolicies: [{ role: 'USER', mapNamePattern: '*', actions: ['ALL'] }],
  rateLimiting: { enabled: false },
  logLevel: 'error',
}

/** What of the configuration is not the default, for the titles of suites. */
export const CONFIGURATION = 'JWT, one policy for all maps, rate limits off'

const NODE_ARGUMENTS = ['--expose-gc']

/** Starts a Syncline server, with options beyond those of all. */
export function startSyncline(
  storage: SynclineServerArguments['storage'] = 'none',
  options: ServerOptions = {},
): Promise<Remote> {
  const args: SynclineServerArguments = { storage, options: { ...OPTIONS, ...options } }
  const script = new URL('syncline-server.ts', import.meta.url)
  return startProcess(script, args, { core: 'server', nodeArguments: NODE_ARGUMENTS })
}

/** Starts a bare `ws` server. */
export function startBare(mode: BareServerArguments['mode']): Promise<Remote> {
  const args: BareServerArguments = { mode }
  const script = new URL('bare-server.ts', import.meta.url)
  return startProcess(script, args, { core: 'server', nodeArguments: NODE_ARGUMENTS })
}

/** Starts a Socket.IO server, as it comes. */
export function startSocketIo(): Promise<Remote> {
  return startProcess(
    new URL('socket-io-server.ts', import.meta.url),
    {},
    { core: 'server', nodeArguments: NODE_ARGUMENTS },
  )
}

/** Starts a Hocuspocus server, as it comes. */
export function startHocuspocus(): Promise<Remote> {
  return startProcess(
    new URL('hocuspocus-server.ts', import.meta.url),
    {},
    { core: 'server', nodeArguments: NODE_ARGUMENTS },
  )
}
