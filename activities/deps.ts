/** Declares the dependencies that activities close over; workflows know only the types of activities. */
import type { SharedArtifacts } from '../store/objects/artifact-copies.ts'
import type { Store } from '../store/postgres.ts'
import type { WorkerTracing } from './tracing/worker-tracing.ts'
import type { Config } from '../temporal.config.ts'

/** One line per decision, with its ids. Never payloads, never keys. */
export type ActivityLog = Record<
  'debug' | 'info' | 'warn' | 'error',
  (fields: Record<string, unknown>, message: string) => void
>

export interface Deps {
  store: Store
  artifacts: SharedArtifacts
  config: Config
  log: ActivityLog
  /** Absent while no traces are sent. */
  tracing?: WorkerTracing | undefined
}
