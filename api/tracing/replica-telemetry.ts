/** Opens the telemetry that a replica sends to a collector. Loaded only where OpenTelemetry is configured. */
import { OpenTelemetryWorkflowClientInterceptor } from '@temporalio/interceptors-opentelemetry/lib/client/index.js'
import { openTelemetry, preciseNow, type ProcessFacts } from '../../activities/telemetry/telemetry.ts'
import type { TelemetrySettings } from '../../activities/telemetry/settings.ts'
import type { ApiDeps } from '../deps.ts'
import { latencyBounds } from '../metrics/registry.ts'
import { createExemplars } from '../metrics/exemplars.ts'
import { createPredictionTracing } from './prediction-spans.ts'
import { tracedRequest } from './request-spans.ts'

export async function openReplicaTelemetry(settings: TelemetrySettings, facts: ProcessFacts) {
  const telemetry = await openTelemetry(settings, facts)
  const exemplars = createExemplars(latencyBounds)
  const { follow, log, stop } = telemetry
  const traced: ApiDeps['traced'] = ({ path, allow }, request, work) =>
    tracedRequest(telemetry, { path, roles: allow }, request, work)
  return {
    exemplars,
    follow,
    log,
    stop,
    tracing: createPredictionTracing(telemetry, exemplars, preciseNow),
    traced,
    interceptor: new OpenTelemetryWorkflowClientInterceptor(),
  }
}
