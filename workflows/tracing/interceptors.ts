/**
 * Propagates trace context through workflows: a run continues the trace of its starter or begins a new one, and passes the context to its
 * activities and children. Span ids and times come only from the history, so a replay produces the same spans and does not report them
 * again.
 */
import {
  ContinueAsNew,
  defaultPayloadConverter,
  proxySinks,
  workflowInfo,
  type Headers,
  type Next,
  type Sinks,
  type WorkflowInterceptors,
  type WorkflowOutboundCallsInterceptor,
} from '@temporalio/workflow'
import type { ReleaseState } from '../../domain/release/state.ts'
import type { TraceSpan } from '../../domain/tracing/span.ts'
import {
  parseTraceparent,
  spanIdOfRun,
  traceIdOfRun,
  traceparentOf,
  type TraceContext,
} from '../../domain/tracing/trace-context.ts'

export interface TracingSinks extends Sinks {
  tracing: { record(span: TraceSpan): void }
}

/** The header of Temporal's own interceptors for OpenTelemetry. */
const traceHeader = '_tracer-data'

interface Carried {
  traceparent: string
  tracestate?: string
  /** State for the next run of the chain, after continue-as-new. */
  chain?: Chain
}

interface Chain {
  startMs: number
  /** The number of spans so far; the next span id is derived from it. */
  place: number
  parentId?: string
  stage?: Stage
  /** Set once the end has its span: a release that a command has ended is recorded with the command, and then once more. */
  hasEnded?: true
  commands: Command[]
}

/** The stage of a release that runs, with its span. */
interface Stage {
  spanId: string
  name: string
  startMs: number
}

type Command = Pick<TraceContext, 'traceId' | 'spanId'> & { name: string }

/** Limit on the links to commands that were received since the stage began. */
const maxLinks = 8

const { tracing } = proxySinks<TracingSinks>()

function read(headers: Headers): Carried | undefined {
  const payload = headers[traceHeader]
  if (payload === undefined) return undefined
  try {
    const carried = defaultPayloadConverter.fromPayload<Partial<Carried>>(payload)
    return typeof carried.traceparent === 'string' ? (carried as Carried) : undefined
  } catch {
    // Another program may have written the header; it must not block the workflow.
    return undefined
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

export const interceptors = (): WorkflowInterceptors => {
  const { firstExecutionRunId: run, runId, workflowId, workflowType, startTime } = workflowInfo()
  const own: TraceContext = { traceId: traceIdOfRun(run), spanId: spanIdOfRun(run, 0), sampled: true }
  let chain: Chain = { startMs: startTime.getTime(), place: 0, commands: [] }
  const attributes = {
    temporalWorkflowID: workflowId,
    temporalRunID: runId,
    'tenure.workflow': workflowType,
  }
  const record = (
    span: Pick<TraceSpan, 'spanId' | 'name' | 'startMs' | 'endMs'> & Partial<TraceSpan>,
  ): void => {
    if (!own.sampled) return
    const { attributes: more, ...rest } = span
    tracing.record({
      traceId: own.traceId,
      state: own.state,
      kind: 'internal',
      attributes: { ...attributes, ...more },
      ...rest,
    })
  }
  const nextSpanId = (): string => spanIdOfRun(run, ++chain.place)
  const withTrace = (headers: Headers, spanId: string, more: Partial<Carried> = {}): Headers => {
    const carried: Carried = { traceparent: traceparentOf({ ...own, spanId }), ...more }
    if (own.state !== undefined) carried.tracestate = own.state
    return { ...headers, [traceHeader]: defaultPayloadConverter.toPayload(carried) }
  }
  const current = (): string => chain.stage?.spanId ?? own.spanId
  const received = (name: string, headers: Headers): void => {
    const sender = read(headers)
    const context = parseTraceparent(sender?.traceparent, sender?.tracestate)
    if (context === undefined) return
    const { traceId, spanId } = context
    chain.commands = [...chain.commands, { traceId, spanId, name }].slice(-maxLinks)
    const nowMs = Date.now()
    const links = [{ traceId, spanId, attributes: { 'tenure.command': name } }]
    record({
      spanId: nextSpanId(),
      parentId: current(),
      name: `command ${name}`,
      startMs: nowMs,
      endMs: nowMs,
      links,
    })
  }
  /** Ends the span of the previous stage when the release has entered another one. */
  const enter = (state: ReleaseState): void => {
    const { stage: kind, shareBp, enteredMs, outcome, reason, version, model, lastVerdict } = state
    const name = kind === 'canary' ? `canary ${shareBp / 100} %` : kind
    const previous = chain.stage
    if (previous?.name === name || chain.hasEnded) return
    const release = { 'tenure.release': state.id, 'tenure.model': model, 'tenure.version': version }
    const endMs = Math.max(enteredMs, previous?.startMs ?? 0)
    if (previous !== undefined)
      record({
        ...previous,
        parentId: own.spanId,
        endMs,
        attributes: { ...release, 'tenure.next': name, 'tenure.verdict': lastVerdict?.reason },
      })
    const spanId = nextSpanId()
    if (kind !== 'ended' && kind !== 'rolling_back') {
      chain.stage = { spanId, name, startMs: enteredMs }
      chain.commands = []
      return
    }
    // Links the end to its causes: the previous stage and the commands received during it.
    const causes = [
      ...(previous === undefined
        ? []
        : [{ traceId: own.traceId, spanId: previous.spanId, attributes: { 'tenure.stage': previous.name } }]),
      ...chain.commands.map(({ name: command, ...link }) => ({
        ...link,
        attributes: { 'tenure.command': command },
      })),
    ]
    if (kind === 'rolling_back') {
      record({
        spanId,
        parentId: own.spanId,
        name: 'rollback ordered',
        startMs: endMs,
        endMs,
        links: causes,
        attributes: { ...release, 'tenure.reason': state.rollbackOrder?.reason },
      })
      chain.stage = { spanId: nextSpanId(), name, startMs: enteredMs }
      return
    }
    record({
      spanId,
      parentId: own.spanId,
      name: `ended ${outcome ?? ''}`,
      startMs: endMs,
      endMs,
      links: causes,
      attributes: { ...release, 'tenure.outcome': outcome, 'tenure.reason': reason },
    })
    delete chain.stage
    chain.hasEnded = true
  }
  const opened = (answer: unknown): void => {
    const { state } = answer as { state?: ReleaseState }
    if (state !== undefined) enter(state)
  }
  const outbound: WorkflowOutboundCallsInterceptor = {
    scheduleActivity(input, next: Next<WorkflowOutboundCallsInterceptor, 'scheduleActivity'>) {
      const [argument] = input.args as { state?: ReleaseState }[]
      if (input.activityType === 'recordRelease' && argument?.state !== undefined) enter(argument.state)
      const running = next({ ...input, headers: withTrace(input.headers, current()) })
      // Its result is the first state; later states arrive with `recordRelease`.
      if (input.activityType === 'openRelease') void running.then(opened, () => {})
      return running
    },
    startChildWorkflowExecution: (input, next) =>
      next({ ...input, headers: withTrace(input.headers, current()) }),
    continueAsNew: (input, next) =>
      next({ ...input, headers: withTrace(input.headers, own.spanId, { chain }) }),
  }
  return {
    inbound: [
      {
        // Interceptors must not await: one more microtask would change the order of commands in the history and break replays.
        execute(input, next) {
          const starter = read(input.headers)
          const parent = parseTraceparent(starter?.traceparent, starter?.tracestate)
          if (starter?.chain !== undefined) chain = starter.chain
          else if (parent !== undefined) chain.parentId = parent.spanId
          if (parent !== undefined) {
            own.traceId = parent.traceId
            own.sampled = parent.sampled
            if (parent.state !== undefined) own.state = parent.state
          }
          const end = (error?: unknown): void => {
            if (error instanceof ContinueAsNew) return
            record({
              spanId: own.spanId,
              parentId: chain.parentId,
              name: workflowType,
              startMs: chain.startMs,
              endMs: Date.now(),
              error: error === undefined ? undefined : messageOf(error),
            })
          }
          const running = next(input)
          running.then(() => end(), end)
          return running
        },
        handleUpdate(input, next) {
          received(input.name, input.headers)
          return next(input)
        },
        handleSignal(input, next) {
          received(input.signalName, input.headers)
          return next(input)
        },
      },
    ],
    outbound: [outbound],
  }
}
