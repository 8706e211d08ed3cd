export { nodeEnv } from './env.ts'
export {
  defineFeature,
  type Encoded,
  type Feature,
  type FeatureDefinition,
  type Handler,
  type Handlers,
  type Kernel,
  type Later,
  type Pages,
  type Reply,
} from './feature.ts'
export { builtInFeatures, type ServerOptions } from './features.ts'
export type { Action, PermissionPolicy, Principal, ReadView, WriteGrant } from './inbound/authorize.ts'
export { OptionsError, type KernelOptions, type OptionsOf } from './options.ts'
export { createServer, type SynclineServer } from './server.ts'
export type { Session } from './sessions/session.ts'
export type { ServerSocket, SocketHandler } from './transport/connection.ts'
export type { Health, ServerState } from './transport/http.ts'
