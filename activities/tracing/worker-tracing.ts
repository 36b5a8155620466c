/**
 * Records activities, their SQL statements and child processes, and ended workflows as spans. Temporal's interceptor runs each activity in
 * its span.
 */
import { SpanKind, trace, type Span } from '@opentelemetry/api'
import type { Context } from '@temporalio/activity'
import { OpenTelemetryActivityInboundInterceptor } from '@temporalio/interceptors-opentelemetry/lib/worker/index.js'
import type { TraceSpan } from '../../domain/tracing/span.ts'
import { traceparentOf } from '../../domain/tracing/trace-context.ts'
import { traceProcesses, type ProcessSpan } from '../telemetry/processes.ts'
import type { TelemetrySettings } from '../telemetry/settings.ts'
import { contextBelow, endSpan, openTelemetry, type ProcessFacts } from '../telemetry/telemetry.ts'
import type { TracingSinks } from '../../workflows/tracing/interceptors.ts'

export type WorkerTracing = Awaited<ReturnType<typeof openWorkerTracing>>

/** The maximum number of statements below one activity, and of parts of one process, so that a span of weeks stays bounded. */
const maxChildren = 64
const maxStatement = 2_000

export async function openWorkerTracing(settings: TelemetrySettings, facts: ProcessFacts) {
  const { tracer, record, log, stop } = await openTelemetry(settings, facts)
  const statements = new WeakMap<Span, number>()

  /** Begins a child span for an SQL statement of an activity. Parameter values are not recorded. */
  function watchStatement(text: string): ((error?: unknown) => void) | undefined {
    const parent = trace.getActiveSpan()
    const count = (parent && statements.get(parent)) ?? 0
    if (parent?.isRecording() !== true || count >= maxChildren) return undefined
    statements.set(parent, count + 1)
    const [, verb = 'query', subject = ''] =
      /^\s*(\w+)(?:[\s\S]*?\b(?:from|into|update)\s+([\w.]+))?/i.exec(text) ?? []
    const span = tracer.startSpan(`${verb.toLowerCase()} ${subject}`.trim(), {
      kind: SpanKind.CLIENT,
      attributes: {
        'db.system.name': 'postgresql',
        'db.operation.name': verb.toLowerCase(),
        'db.query.text': text.slice(0, maxStatement),
      },
    })
    return (error) => endSpan(span, error)
  }

  traceProcesses((name): ProcessSpan | undefined => {
    if (trace.getActiveSpan()?.isRecording() !== true) return undefined
    const span = tracer.startSpan(name)
    const { traceId, spanId } = span.spanContext()
    const own = { traceId, spanId, sampled: true }
    let left = maxChildren
    return {
      traceparent: traceparentOf(own),
      part({ name: part, startMs, endMs, error }) {
        if (left-- > 0)
          endSpan(tracer.startSpan(part, { startTime: startMs }, contextBelow(own)), error, endMs)
      },
      end: (error) => endSpan(span, error),
    }
  })

  const activity = [
    (context: Context) => ({ inbound: new OpenTelemetryActivityInboundInterceptor(context) }),
    ({ info }: Context) => ({
      inbound: {
        execute<Input>(input: Input, next: (input: Input) => Promise<unknown>): Promise<unknown> {
          // Named like the activity, as the spans of workflows are named like the workflows.
          trace
            .getActiveSpan()
            ?.updateName(info.activityType)
            .setAttributes({
              'tenure.attempt': info.attempt,
              'tenure.queue': info.taskQueue,
              'tenure.waited_ms': Math.max(0, Date.now() - info.currentAttemptScheduledTimestampMs),
            })
          return next(input)
        },
      },
    }),
  ]
  const sinks = {
    tracing: {
      record: { fn: (_info: unknown, span: TraceSpan) => record(span), callDuringReplay: false },
    },
  } satisfies Record<keyof TracingSinks, unknown>
  return { listeners: { interceptors: { activity }, sinks }, log, stop, watchStatement }
}
