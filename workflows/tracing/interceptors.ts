/**
 * Propagates trace context through workflows: a run continues the trace of its starter or begins a new one, and passes the context to its
 * activities and children. Span ids and times come only from the history, so a replay produces the same spans and does not report them
 * again. Temporal's own interceptors for workflows await: a collector configured meanwhile would then break the replay of a release that
 * received commands (2 of the 14 recorded histories).
 */
import {
  ContinueAsNew,
  defaultPayloadConverter,
  proxySinks,
  workflowInfo,
  type Headers,
  type Next,
  type Sinks,
  type WorkflowInboundCallsInterceptor,
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
  /** Of the state that entered the stage: a late answer may bring an older one. */
  revision?: number
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
  const trace = beginTrace()
  return { inbound: [inboundOf(trace)], outbound: [outboundOf(trace)] }
}

/** Interceptors must not await: one more microtask would change the order of commands in the history and break replays. */
const inboundOf = (trace: RunTrace): WorkflowInboundCallsInterceptor => ({
  execute(input, next) {
    trace.continueFrom(read(input.headers))
    const end = (error?: unknown): void => {
      if (error instanceof ContinueAsNew) return
      trace.record({
        spanId: trace.own.spanId,
        parentId: trace.chain().parentId,
        name: workflowInfo().workflowType,
        startMs: trace.chain().startMs,
        endMs: Date.now(),
        error: error === undefined ? undefined : messageOf(error),
      })
    }
    const running = next(input)
    running.then(() => end(), end)
    return running
  },
  handleUpdate(input, next) {
    recordCommand(trace, input.name, input.headers)
    return next(input)
  },
  handleSignal(input, next) {
    recordCommand(trace, input.signalName, input.headers)
    return next(input)
  },
})

const outboundOf = (trace: RunTrace): WorkflowOutboundCallsInterceptor => {
  // The activities of a release return its state, alone or with their answers.
  const entered = (answer: unknown): void => {
    const found = (answer ?? {}) as Partial<ReleaseState> & { state?: ReleaseState }
    const state = found.state ?? (found as ReleaseState)
    if (state.revision !== undefined && state.stage !== undefined) enterStage(trace, state)
  }
  return {
    scheduleActivity(input, next: Next<WorkflowOutboundCallsInterceptor, 'scheduleActivity'>) {
      const running = next({ ...input, headers: trace.withTrace(input.headers, trace.current()) })
      void running.then(entered, () => {})
      return running
    },
    startChildWorkflowExecution: (input, next) =>
      next({ ...input, headers: trace.withTrace(input.headers, trace.current()) }),
    continueAsNew: (input, next) =>
      next({ ...input, headers: trace.withTrace(input.headers, trace.own.spanId, { chain: trace.chain() }) }),
  }
}

type RunTrace = ReturnType<typeof beginTrace>

/** Begins the trace of this run. `own` is the context of its span, and `chain` what the next run after continue-as-new receives. */
function beginTrace() {
  const { firstExecutionRunId: run, runId, workflowId, workflowType, startTime } = workflowInfo()
  const own: TraceContext = { traceId: traceIdOfRun(run), spanId: spanIdOfRun(run, 0), sampled: true }
  const attributes = {
    temporalWorkflowID: workflowId,
    temporalRunID: runId,
    'tenure.workflow': workflowType,
  }
  let chain: Chain = { startMs: startTime.getTime(), place: 0, commands: [] }
  return {
    own,
    chain: () => chain,
    /** Continues the trace of the run before or of the starter. */
    continueFrom(starter: Carried | undefined): void {
      const parent = parseTraceparent(starter?.traceparent, starter?.tracestate)
      if (starter?.chain !== undefined) chain = starter.chain
      else if (parent !== undefined) chain.parentId = parent.spanId
      if (parent === undefined) return
      own.traceId = parent.traceId
      own.sampled = parent.sampled
      if (parent.state !== undefined) own.state = parent.state
    },
    nextSpanId: () => spanIdOfRun(run, ++chain.place),
    /** The span of the stage, or else of the run. */
    current: () => chain.stage?.spanId ?? own.spanId,
    record(span: Pick<TraceSpan, 'spanId' | 'name' | 'startMs' | 'endMs'> & Partial<TraceSpan>): void {
      if (!own.sampled) return
      const { attributes: more, ...rest } = span
      tracing.record({
        traceId: own.traceId,
        state: own.state,
        attributes: { ...attributes, ...more },
        ...rest,
      })
    },
    /** Returns the headers of a call with the trace context, whose span is `spanId`. */
    withTrace(headers: Headers, spanId: string, more: Partial<Carried> = {}): Headers {
      const carried: Carried = { traceparent: traceparentOf({ ...own, spanId }), ...more }
      if (own.state !== undefined) carried.tracestate = own.state
      return { ...headers, [traceHeader]: defaultPayloadConverter.toPayload(carried) }
    },
  }
}

/** Records a span of no length that links to the sender of the command. */
function recordCommand(trace: RunTrace, name: string, headers: Headers): void {
  const sender = read(headers)
  const context = parseTraceparent(sender?.traceparent, sender?.tracestate)
  if (context === undefined) return
  const chain = trace.chain()
  const { traceId, spanId } = context
  chain.commands = [...chain.commands, { traceId, spanId, name }].slice(-maxLinks)
  const nowMs = Date.now()
  trace.record({
    spanId: trace.nextSpanId(),
    parentId: trace.current(),
    name: `command ${name}`,
    startMs: nowMs,
    endMs: nowMs,
    links: [{ traceId, spanId, attributes: { 'tenure.command': name } }],
  })
}

/** Ends the span of the previous stage when the release has entered another one. */
function enterStage(trace: RunTrace, state: ReleaseState): void {
  const { own } = trace
  const chain = trace.chain()
  const { stage: kind, shareBp, enteredMs, outcome, reason, version, model, lastVerdict } = state
  const name = kind === 'canary' ? `canary ${shareBp / 100} %` : kind
  const previous = chain.stage
  if (previous?.name === name || chain.hasEnded || state.revision < (chain.revision ?? 0)) return
  chain.revision = state.revision
  const release = { 'tenure.release': state.id, 'tenure.model': model, 'tenure.version': version }
  const endMs = Math.max(enteredMs, previous?.startMs ?? 0)
  if (previous !== undefined)
    trace.record({
      ...previous,
      parentId: own.spanId,
      endMs,
      attributes: { ...release, 'tenure.next': name, 'tenure.verdict': lastVerdict?.reason },
    })
  const spanId = trace.nextSpanId()
  if (kind !== 'ended' && kind !== 'rolling_back') {
    chain.stage = { spanId, name, startMs: enteredMs }
    chain.commands = []
    return
  }
  const end = { spanId, parentId: own.spanId, startMs: endMs, endMs, links: causesOf(trace) }
  if (kind === 'rolling_back') {
    const attributes = { ...release, 'tenure.reason': state.rollbackOrder?.reason }
    trace.record({ ...end, name: 'rollback ordered', attributes })
    chain.stage = { spanId: trace.nextSpanId(), name, startMs: enteredMs }
    return
  }
  const attributes = { ...release, 'tenure.outcome': outcome, 'tenure.reason': reason }
  trace.record({ ...end, name: `ended ${outcome ?? ''}`, attributes })
  delete chain.stage
  chain.hasEnded = true
}

/** The causes of an end: the stage before it and the commands that were received during it. */
function causesOf({ own, chain }: RunTrace): TraceSpan['links'] {
  const { stage, commands } = chain()
  return [
    ...(stage === undefined
      ? []
      : [{ traceId: own.traceId, spanId: stage.spanId, attributes: { 'tenure.stage': stage.name } }]),
    ...commands.map(({ name, ...link }) => ({ ...link, attributes: { 'tenure.command': name } })),
  ]
}
