/** Real Postgres and Temporal as children of a Node process. */
export { install } from './install.ts'
export type { InstallOptions } from './install.ts'
export { birthOf } from './install/machine.mjs'
export {
  embeddedOwnerUrl,
  planPostgres,
  postgresBinaries,
  renewOwnerPassword,
  rolePassword,
  serverUser,
  sharedRoot,
  startPostgres,
  writeServerFiles,
} from './postgres.ts'
export type { PostgresOptions, PostgresServer, RunningPostgres } from './postgres.ts'
export { freePort, requireFreePort, spawnProcess, startServer, whenReady } from './process.ts'
export type { Exit, ProcessSpec, RunningProcess, RunningServer, ServerSpec } from './process.ts'
export { planTemporal, startTemporal, temporalCli } from './temporal.ts'
export type { RunningTemporal, TemporalServer, TemporalServerOptions } from './temporal.ts'
