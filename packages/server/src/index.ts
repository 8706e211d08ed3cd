export { nodeEnv } from './env.ts'
export {
  defineFeature,
  type Acknowledged,
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
export { searchedMaps } from './features/search/contract.ts'
export type { Action, PermissionPolicy, Principal, ReadView, WriteGrant } from './inbound/authorize.ts'
export { OptionsError, type KernelOptions, type OptionsOf } from './options.ts'
export { createServer } from './server.ts'
export type { SynclineServer } from './syncline-server.ts'
export type { Limits, RefusalOptions } from './telemetry/limits.ts'
export type { Labels, LabelledSeries, Metric, Metrics, Series } from './telemetry/metrics.ts'
export type { Session } from './sessions/session.ts'
export type { ServerSocket, SocketHandler } from './transport/connection.ts'
export type { Health, ServerState } from './transport/http.ts'
