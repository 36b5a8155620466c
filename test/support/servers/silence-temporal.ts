/** Suppresses Temporal's own log lines in test output, because intended failures look like problems there. */
import { Runtime } from '@temporalio/worker'

const silent = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
let installed = false

/** Installs the runtime. Call it once per process, before the first worker. */
export function quietRuntime(): void {
  if (installed) return
  installed = true
  Runtime.install({
    logger: silent,
    telemetryOptions: { logging: { filter: 'ERROR', forward: {} } },
    shutdownSignals: [],
  })
}
