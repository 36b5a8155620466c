/**
 * Records activities and ended workflows as spans. Each activity runs in its span, so that its SQL statements and child processes belong
 * to it.
 */
import type { Context } from '@temporalio/activity'
import type { TraceSpan } from '../../domain/tracing/span.ts'
import { parseTraceparent, traceIdOfRun, spanIdOfRun } from '../../domain/tracing/trace-context.ts'
import { messageOfError, runInSpan, watchStatement } from '../../telemetry/active-span.ts'
import type { TelemetrySettings } from '../../telemetry/settings.ts'
import { newTrace, openTelemetry, preciseNow, type ProcessFacts } from '../../telemetry/telemetry.ts'
import type { TracingSinks } from '../../workflows/tracing/interceptors.ts'

export type WorkerTracing = ReturnType<typeof openWorkerTracing>

interface ActivityInput {
  args: unknown[]
  headers: Record<string, { data?: Uint8Array | null }>
}
type RunActivity = (input: ActivityInput) => Promise<unknown>

const traceHeader = '_tracer-data'

export function openWorkerTracing(settings: TelemetrySettings, facts: ProcessFacts) {
  const telemetry = openTelemetry(settings, facts)
  const { log, stop, record } = telemetry
  const activity = ({ info }: Context) => ({
    inbound: {
      async execute(input: ActivityInput, next: RunActivity): Promise<unknown> {
        const parent = parentOf(input, info.workflowExecution?.runId ?? '')
        if (parent === undefined || !parent.sampled) return next(input)
        const span = newTrace(parent)
        let error: string | undefined
        try {
          return await runInSpan(telemetry, span, () => next(input))
        } catch (thrown) {
          error = messageOfError(thrown)
          throw thrown
        } finally {
          record({
            ...span,
            name: info.activityType,
            kind: 'internal',
            endMs: preciseNow(),
            attributes: {
              temporalWorkflowID: info.workflowExecution?.workflowId,
              temporalRunID: info.workflowExecution?.runId,
              temporalActivityID: info.activityId,
              'tenure.attempt': info.attempt,
              'tenure.queue': info.taskQueue,
              'tenure.waited_ms': Math.max(
                0,
                Math.round(span.startMs - info.currentAttemptScheduledTimestampMs),
              ),
            },
            error,
          })
        }
      },
    },
  })
  const sinks = {
    tracing: {
      record: { fn: (_info: unknown, span: TraceSpan) => record(span), callDuringReplay: false },
    },
  } satisfies Record<keyof TracingSinks, unknown>
  /** Absent when only logs are sent. */
  const listeners = settings.urls.traces && { interceptors: { activity: [activity] }, sinks }
  return { listeners: listeners || undefined, log, stop, watchStatement }
}

/** For a workflow that began before tracing, the parent is the run itself. */
function parentOf({ headers }: ActivityInput, runId: string) {
  const data = headers[traceHeader]?.data
  if (data === undefined || data === null)
    return runId === ''
      ? undefined
      : { traceId: traceIdOfRun(runId), spanId: spanIdOfRun(runId, 0), sampled: true }
  const { traceparent, tracestate } = JSON.parse(Buffer.from(data).toString('utf8')) as Record<string, string>
  return parseTraceparent(traceparent, tracestate)
}
