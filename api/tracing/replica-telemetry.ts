/** Opens the telemetry that a replica sends to a collector. Loaded only where OpenTelemetry is configured. */
import { openTelemetry, preciseNow, type ProcessFacts } from '../../telemetry/telemetry.ts'
import type { TelemetrySettings } from '../../telemetry/settings.ts'
import type { ApiDeps } from '../deps.ts'
import { latencyBounds } from '../metrics/registry.ts'
import { createExemplars } from '../metrics/exemplars.ts'
import { createPredictionTracing } from './prediction-spans.ts'
import { temporalTracing, tracedRequest } from './request-spans.ts'

export function openReplicaTelemetry(settings: TelemetrySettings, facts: ProcessFacts) {
  const telemetry = openTelemetry(settings, facts)
  const exemplars = createExemplars(latencyBounds)
  const { counts, follow, log, stop } = telemetry
  const isTraced = settings.urls.traces !== undefined
  const traced: ApiDeps['traced'] = ({ path, allow }, request, work) =>
    tracedRequest(telemetry, { path, roles: allow }, request, work)
  return {
    sources: { exemplars, counts },
    follow,
    log,
    stop,
    ...(isTraced && {
      tracing: createPredictionTracing(telemetry, exemplars, preciseNow),
      traced,
      interceptor: temporalTracing(),
    }),
  }
}
