/** Runs workflows of Temporal, with their activities and a database in memory, in one process against virtual time, from a seed. */
import './temporal/sandbox.ts'

export { carried } from './carried.ts'
export { enter, replaceGlobals, type GlobalsOptions } from './globals.ts'
export { createMoments, type Disturbance, type Moment, type Moments } from './moments.ts'
export {
  connect,
  deliverNotice,
  endStaleSessions,
  type Connection,
  type Server,
  type Statement,
} from './postgres/connection.ts'
export {
  createMemory,
  type Change,
  type DatabaseSession,
  type Meaning,
  type Memory,
  type MemoryOptions,
  type Query,
  type Row,
} from './postgres/database.ts'
export { seededRandom } from './random.ts'
export {
  createTemporal,
  type Execution,
  type Temporal,
  type TemporalOptions,
  type UpdateAnswer,
  type Watcher,
  type Worker,
} from './temporal/temporal.ts'
export { createHost, type Host, type RunInfo } from './temporal/workflow-host.ts'
export { createWorld, epochMs, wallOf, type Machine, type World } from './world.ts'
