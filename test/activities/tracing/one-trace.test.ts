/** Tests on the real servers that one trace leads from a request to its retraining, its release and the rollback. */
import { ROOT_CONTEXT, trace, type Context } from '@opentelemetry/api'
import { Client } from '@temporalio/client'
import { OpenTelemetryWorkflowClientInterceptor } from '@temporalio/interceptors-opentelemetry/lib/client/index.js'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { parseTraceparent } from '../../../domain/tracing/trace-context.ts'
import { dataConverterOf } from '../../../workflows/client/payload-codec.ts'
import { contextBelow } from '../../../activities/telemetry/telemetry.ts'
import { releaseWorkflowId, retrainWorkflowId } from '../../../workflows/messages.ts'
import type { release as releaseWorkflow } from '../../../workflows/release.ts'
import type { retrain } from '../../../workflows/retrain.ts'
import { orderedStart } from '../../support/commands/signed.ts'
import { insertPeople } from '../../support/release/candidates.ts'
import { fixtureRelease, quickPolicy, type FixtureRelease } from '../../support/release/release-fixture.ts'
import { startFleet, type Fleet } from '../../support/serving/replica-rows.ts'
import { uniqueName } from '../../support/servers/servers.ts'
import {
  attributeOf,
  startCollector,
  type Collector,
  type OtlpSpan,
} from '../../support/tracing/collector.ts'
import { exampleDay, insertExampleRows, syncExampleModel } from '../../support/training/example-model.ts'
import { openPipeline, type Pipeline } from '../../support/training/pipeline.ts'

const model = uniqueName('traced')
let collector: Collector
let pipeline: Pipeline
let fleet: Fleet

beforeAll(async () => {
  collector = await startCollector()
  for (const [name, value] of Object.entries(collector.environment)) vi.stubEnv(name, value)
  pipeline = await openPipeline({ environment: collector.environment })
  await insertExampleRows(pipeline.store, { from: 0, to: 40 })
  await insertPeople(pipeline.store, { anna: 'approver' })
  fleet = startFleet(pipeline.store, { replicas: ['r1', 'r2'], tickMs: quickPolicy.watch.tickMs })
  await promoteFirst()
  await syncExampleModel(pipeline.store, pipeline.models, { name: model })
})
afterAll(async () => {
  await fleet?.stop()
  await pipeline?.close()
  await collector?.stop()
})

/** Seeds a weak champion. Without one, a version is promoted directly, with nothing to roll back to. */
async function promoteFirst(): Promise<void> {
  const more = `evaluation: { primary: 'auc', floors: { auc: 0.1 }, evidence: { rows: 300, positives: 50, negatives: 50 }, calibration: 'off' },`
  const weak = { name: model, epochs: 1, more }
  await syncExampleModel(pipeline.store, pipeline.models, weak)
  const first = await (await pipeline.start({ model, asOf: exampleDay(35) })).result()
  expect(first).toMatchObject({ outcome: 'released' })
  const release = releaseOf(pipeline.client, first.releaseId)
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna')
  expect((await release.result()).outcome).toBe('promoted')
}

/** Returns the release that a retraining has started. */
function releaseOf({ workflow }: Client, releaseId = ''): FixtureRelease {
  const digits = /^rel_(.{8})(.{4})(.{4})(.{4})(.{12})$/
  const firstExecutionRunId = releaseId.replace(digits, '$1-$2-$3-$4-$5')
  const handle = workflow.getHandle<typeof releaseWorkflow>(releaseWorkflowId(model))
  return fixtureRelease(pipeline, Object.assign(handle, { firstExecutionRunId }))
}

/** Runs a call to Temporal in the span of a request. */
const inRequest = <T>(caller: Context, call: () => Promise<T>): Promise<T> =>
  trace.getTracer('test').startActiveSpan('request', {}, caller, (span) => call().finally(() => span.end()))

const traceId = '0af7651916cd43dd8448eb211c80319c'
const named = (name: string): OtlpSpan[] =>
  collector.spans.filter((span) => span.traceId === traceId && span.name === name)

it('one trace leads from a request to the retraining, its release and the rollback, with a link to the request of the rollback', async () => {
  const traced = new Client({
    connection: pipeline.client.connection,
    namespace: pipeline.client.options.namespace,
    interceptors: { workflow: [new OpenTelemetryWorkflowClientInterceptor()] },
    dataConverter: dataConverterOf(pipeline.config.temporal),
  })
  const { shadow: _shadow, ...policy } = quickPolicy
  const longStep = { minMs: 600_000, minRequests: 20, deadlineMs: 900_000 }
  const caller = contextBelow(parseTraceparent(`00-${traceId}-b7ad6b7169203331-01`, 'vendor=x'))
  const order = await orderedStart(pipeline, 'retrain', {
    model,
    asOf: exampleDay(35),
    requestedBy: 'olga',
    policy: {
      ...policy,
      stages: [{ ...longStep, shareBp: 1_000 }],
      probation: { ...longStep, holdbackBp: 1_000 },
    },
  })
  const retraining = await inRequest(caller, () =>
    traced.workflow.start<typeof retrain>('retrain', {
      workflowId: retrainWorkflowId(model),
      taskQueue: pipeline.config.taskQueues.control,
      args: [order],
    }),
  )
  const retrained = await retraining.result()
  expect(retrained).toMatchObject({ outcome: 'released' })
  const release = releaseOf(traced, retrained.releaseId)
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna')
  const stageNow = async () => (await release.state()).stage
  await expect.poll(stageNow).toMatch(/canary|probation/)
  const stage = await stageNow()
  await inRequest(ROOT_CONTEXT, () => release.say('rollback', 'olga'))
  await release.result()
  await expect.poll(() => named('release').length).toBe(1)

  const spans = collector.spans.filter((span) => span.traceId === traceId)
  const ids = new Set(spans.map(({ spanId }) => spanId))
  expect(ids.size, 'no span twice').toBe(spans.length)
  const [whole] = named('retrain')
  const [request] = named('request')
  expect(request).toMatchObject({ parentSpanId: 'b7ad6b7169203331', traceState: 'vendor=x' })
  const [started] = named('StartWorkflow:retrain')
  expect(started).toMatchObject({ parentSpanId: request!.spanId })
  expect(whole).toMatchObject({ traceId, parentSpanId: started!.spanId, traceState: 'vendor=x' })
  const [released] = named('release')
  expect(released).toMatchObject({ traceId, parentSpanId: whole!.spanId })
  for (const { name, spanId, parentSpanId } of spans)
    expect(ids.has(parentSpanId!) || spanId === request!.spanId, name).toBe(true)
  const names = new Set(spans.map(({ name }) => name))
  for (const name of [
    'takeSnapshot',
    'validate',
    'train',
    'evaluate',
    'register',
    'openRelease',
    'qualify',
    'qualifying',
  ])
    expect(names, name).toContain(name)
  const partsBelow = (activity: string, child: string) => {
    const parents = named(activity).map(({ spanId }) => spanId)
    const of = spans.find(({ name, parentSpanId }) => name === child && parents.includes(parentSpanId!))
    return spans.filter(({ parentSpanId }) => parentSpanId === of?.spanId).map(({ name }) => name)
  }
  expect(partsBelow('train', 'trainer')).toEqual(['load data', 'fit', 'write artifact'])
  expect(partsBelow('evaluate', 'evaluator')).toEqual(['load data', 'predict', 'evaluate'])
  const inOpening = spans.filter(({ parentSpanId }) => parentSpanId === named('openRelease')[0]!.spanId)
  expect(inOpening.map((span) => attributeOf(span, 'db.system.name'))).toContain('postgresql')
  const [rollback] = named('rollback ordered')
  expect(rollback).toMatchObject({ traceId, parentSpanId: released!.spanId })
  expect(attributeOf(rollback!, 'tenure.reason')).toMatch(/^rolled back by /)
  const former = spans.find(({ spanId }) => spanId === rollback!.links?.[0]?.spanId)
  expect(former?.name).toMatch(stage)
  const [command] = named('command rollback')
  const [sent] = command!.links
  expect(collector.spans.find(({ spanId }) => spanId === sent!.spanId)).toMatchObject({
    traceId: sent!.traceId,
    name: expect.stringMatching(/^(StartWorkflowUpdate|SignalWorkflow):/),
  })
  expect(sent!.traceId).not.toBe(traceId)
  expect(rollback!.links).toContainEqual(
    expect.objectContaining({ traceId: sent!.traceId, spanId: sent!.spanId }),
  )
  expect(named('ended rolled_back')).toHaveLength(1)
})

it('a release that a command has ended has one span of its end', async () => {
  const retrained = await (await pipeline.start({ model, asOf: exampleDay(36) })).result()
  const release = releaseOf(pipeline.client, retrained.releaseId)
  await release.reaches('awaiting_approval')
  await release.say('reject', 'anna')
  const { outcome } = await release.result()
  // The spans of a workflow arrive in order, with the workflow's own last.
  const { version } = await release.state()
  const ofVersion = (span: OtlpSpan) => attributeOf(span, 'tenure.version') === version
  const ends = () => collector.spans.filter((span) => span.name === `ended ${outcome}` && ofVersion(span))
  await expect.poll(() => ends().length).toBeGreaterThan(0)
  const { traceId: ended } = ends()[0]!
  await expect
    .poll(() => collector.spans.filter(({ name, traceId }) => name === 'release' && traceId === ended).length)
    .toBe(1)
  expect(ends()).toHaveLength(1)
})
