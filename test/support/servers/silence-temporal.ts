/** Keeps Temporal's own lines out of the output of the tests: what they ask for on purpose looks like trouble there. */
import { Runtime } from '@temporalio/worker'

const silent = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
let installed = false

/** Once per process, before the first worker. */
export function quietRuntime(): void {
  if (installed) return
  installed = true
  Runtime.install({
    logger: silent,
    telemetryOptions: { logging: { filter: 'ERROR', forward: {} } },
    shutdownSignals: [],
  })
}
