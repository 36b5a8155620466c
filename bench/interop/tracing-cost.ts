/**
 * Measures the cost of tracing at a share of 1 % in two ways: of tracing alone in this process, and of whole replicas. Two replicas of one
 * kind differ by up to a tenth, because V8 compiles and inlines in another order in each process. Therefore several of each kind are
 * started, and compared with the difference between two of the same kind.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { createExemplars } from '../../api/metrics/exemplars.ts'
import { latencyBounds } from '../../api/metrics/registry.ts'
import { createPredictionTracing } from '../../api/tracing/prediction-spans.ts'
import type { TraceSpan } from '../../domain/tracing/span.ts'
import { tracesBody } from '../../telemetry/otlp.ts'
import { readTelemetry } from '../../telemetry/settings.ts'
import { newTrace, openTelemetry, preciseNow, type Telemetry } from '../../telemetry/telemetry.ts'
import { startApiProcess, type ApiProcess } from '../../test/support/serving/api-process.ts'
import { irisRow } from '../../test/support/serving/artifact.ts'
import { quantileOf } from '../harness/figures.ts'
import { costUs, httpAsker } from './replica-cost.ts'

const target = { model: 'iris', protocol: 'predict' }
const served = { version: 'iris-1.0.0', arm: 'champion' as const }
const share = 0.01

/** Microseconds that tracing adds to a call: decision, spans, and sent bytes. */
export async function measureTracing(
  collectorUrl: string,
): Promise<{ callUs: number; spanUs: number; us: number }> {
  const environment = { OTEL_EXPORTER_OTLP_ENDPOINT: collectorUrl, OTEL_TRACES_SAMPLER_ARG: String(share) }
  const settings = readTelemetry(environment, [])!
  const telemetry = openTelemetry(settings, { kind: 'api', version: '1', onError: () => undefined })
  const tracing = createPredictionTracing(telemetry, createExemplars(latencyBounds), preciseNow)
  const calls = 200_000
  const callsOfTurn = 1_000
  /** Excludes work between the turns, because the collector may run in this process. */
  const once = async (): Promise<number> => {
    let us = 0
    for (let call = 0; call < calls; call += callsOfTurn) {
      us += spentUs(() => {
        for (let each = 0; each < callsOfTurn; each++) {
          const span = tracing.begin(target, {}, 0)
          if (span !== undefined) tracing.end(Object.assign(span, served), 200)
        }
      })
      await nextTurn()
    }
    return us / calls
  }
  const all = []
  for (let round = 0; round < 4; round++) all.push(await once())
  const callUs = Math.min(...all)
  const spans = sampleOf(telemetry, settings.maxBatch)
  const batches = 100
  const encode = (): void => void JSON.stringify(tracesBody({}, spans))
  const spanUs =
    spentUs(() => {
      for (let batch = 0; batch < batches; batch++) encode()
    }) /
    batches /
    spans.length
  await telemetry.stop()
  return { callUs, spanUs, us: callUs + share * spanUs }
}

function spentUs(work: () => void): number {
  const from = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(from)
  return user + system
}

function sampleOf(telemetry: Telemetry, count: number): TraceSpan[] {
  const spans: TraceSpan[] = []
  const sampled = {
    ...telemetry,
    begin: () => newTrace(undefined),
    record: (span: TraceSpan) => void spans.push(span),
  }
  const tracing = createPredictionTracing(sampled, createExemplars(latencyBounds), preciseNow)
  while (spans.length < count) {
    const span = tracing.begin(target, {}, 0)!
    tracing.end(Object.assign(span, served), 200)
  }
  return spans
}

export interface TracedReplicas {
  /** A call without a collector, in microseconds. */
  offUs: number
  /** By draw: cost of a replica with tracing, and of a second one without, as multiples of the first. */
  traced: number[]
  again: number[]
}

/** Measures replicas; each draw starts three, which serve `iris`. */
export async function measureTracedReplicas(
  environment: () => Record<string, string>,
  collectorUrl: string,
  { draws, rounds, calls }: { draws: number; rounds: number; calls: number },
): Promise<TracedReplicas> {
  const traced = { OTEL_EXPORTER_OTLP_ENDPOINT: collectorUrl, OTEL_TRACES_SAMPLER_ARG: String(share) }
  const kinds = { off: {}, again: {}, traced }
  const names = ['off', 'again', 'traced'] as const
  const offUs: number[] = []
  const ratios: Record<'again' | 'traced', number[]> = { again: [], traced: [] }
  for (let draw = 0; draw < draws; draw++) {
    const replicas: ApiProcess[] = []
    const found: Record<(typeof names)[number], number[]> = { off: [], again: [], traced: [] }
    try {
      for (const name of names) replicas.push(await startApiProcess({ ...environment(), ...kinds[name] }))
      const askers = replicas.map((each) =>
        httpAsker(each, '/v1/models/iris/predict', JSON.stringify({ instances: [irisRow] })),
      )
      // The first rounds compile. Replicas take turns, so that the load of the machine affects all of them.
      for (let round = -2; round < rounds; round++)
        for (const name of round % 2 === 0 ? names : names.toReversed()) {
          const place = names.indexOf(name)
          const us = await costUs(replicas[place]!, askers[place]!.ask, calls)
          if (round >= 0) found[name].push(us)
        }
      for (const each of askers) each.close()
    } finally {
      await Promise.all(replicas.map((each) => each.end('SIGTERM')))
    }
    const off = quantileOf(found.off, 0.5)
    offUs.push(off)
    for (const name of ['again', 'traced'] as const) ratios[name].push(quantileOf(found[name], 0.5) / off)
  }
  return { offUs: quantileOf(offUs, 0.5), ...ratios }
}
