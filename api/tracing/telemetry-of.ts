/** Opens the telemetry of a replica where a collector is configured. */
import { copyLines } from '../../store/log-output.ts'
import { readVersion, type Config } from '../../temporal.config.ts'
import type { openReplicaTelemetry } from './replica-telemetry.ts'

export type ReplicaTelemetry = Awaited<ReturnType<typeof openReplicaTelemetry>>

/** Loads the code of OpenTelemetry only where a collector is configured, so that other replicas save its memory. */
export async function telemetryOf(
  { telemetry }: Config,
  onTrouble: (what: string, error: unknown) => void,
): Promise<ReplicaTelemetry | undefined> {
  if (telemetry === undefined) return undefined
  const { openReplicaTelemetry } = await import('./replica-telemetry.ts')
  const onError = (error: unknown) => onTrouble('OpenTelemetry reports a problem', error)
  const opened = await openReplicaTelemetry(telemetry, { kind: 'api', version: readVersion(), onError })
  copyLines(opened.log)
  return opened
}
