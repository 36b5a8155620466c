/**
 * Tests that the OpenTelemetry collector accepts the traces, metrics and logs of a system in which one version is released and the next is
 * rolled back: `npm run test:all -- test/interop`. Skipped without Go or a network.
 */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openShow, type Show } from '../support/fleet/fleet-fixture.ts'
import { startCallers } from '../support/servers/system-fixture.ts'
import {
  collectorOrReason,
  startRealCollector,
  type RealCollector,
  type ReceivedEntry,
} from './otlp/collector.ts'

const found = await collectorOrReason()
const skipped = 'reason' in found ? ` (skipped: ${found.reason})` : ''
let collector: RealCollector | undefined
let show: Show | undefined

beforeAll(async () => {
  if ('reason' in found) return
  collector = await startRealCollector(found.program)
  show = await openShow({
    replicas: 1,
    workers: 1,
    leaseMs: 5_000,
    environment: {
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_BSP_SCHEDULE_DELAY: '50',
      OTEL_BLRP_SCHEDULE_DELAY: '50',
      OTEL_METRIC_EXPORT_INTERVAL: '500',
      OTEL_TRACES_SAMPLER_ARG: '1',
    },
  })
})
afterAll(async () => {
  await show?.system.stop()
  await collector?.stop()
})

const named = (entries: readonly ReceivedEntry[], name: string): ReceivedEntry[] =>
  entries.filter((each) => each.name === name)

it.skipIf('reason' in found)(
  `the collector takes every trace, metric and log of a release and a rollback${skipped}`,
  async () => {
    const { spans, metrics, logs, complaints } = collector!
    const { system, model, key, approved } = show!
    const callers = startCallers(system.urls, model)
    const promoted = await approved()
    expect(await promoted.release.result()).toMatchObject({ outcome: 'promoted' })
    const next = await approved()
    await next.release.reaches('canary')
    const order = async (command: string) => {
      const response = await fetch(`${system.urls[0]}/v1/releases/${next.release.id}/${command}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify({ reason: 'a test' }),
      })
      expect(response.ok).toBe(true)
    }
    // The release runs on after a pause. It reads a rollback from its row, and may have ended when the signal comes.
    await order('pause')
    await expect.poll(() => named(spans, 'command pause').length).toBeGreaterThan(0)
    await order('rollback')
    expect(await next.release.result()).toMatchObject({ outcome: 'rolled_back' })
    await callers.stop()
    const ends = () => named(spans, 'ended rolled_back')
    await expect.poll(() => ends().length).toBeGreaterThan(0)
    expect(ends().length, JSON.stringify(ends())).toBe(1)
    await expect.poll(() => named(spans, 'release').length).toBeGreaterThanOrEqual(3)

    const [release] = named(spans, 'release').filter(({ traceId }) =>
      named(spans, 'ended rolled_back').some((end) => end['traceId'] === traceId),
    )
    const trace = spans.filter(({ traceId }) => traceId === release!['traceId'])
    const ids = new Set(trace.map(({ spanId }) => spanId))
    expect(ids.size, 'no span twice').toBe(trace.length)
    for (const { name, parentSpanId } of trace)
      expect(parentSpanId === '' || parentSpanId === undefined || ids.has(parentSpanId), name).toBe(true)
    const names = new Set(trace.map(({ name }) => name))
    expect([...names]).toEqual(expect.arrayContaining(['qualifying', 'rollback ordered', 'openRelease']))
    const [command] = named(spans, 'command pause')
    const [{ spanId: sender }] = command!['links'] as [{ spanId: string }]
    expect(
      spans.find(({ spanId }) => spanId === sender),
      'from a replica to a worker',
    ).toMatchObject({
      name: expect.stringMatching(/Workflow.*:pause$/),
      resource: { 'tenure.process': 'api' },
    })
    expect(named(spans, `predict ${model}`).length).toBeGreaterThan(0)
    await expect.poll(() => named(metrics, 'tenure_prediction_seconds').length).toBeGreaterThan(0)
    const processes = new Set([...spans, ...logs].map(({ resource }) => resource['tenure.process']))
    expect(processes).toEqual(new Set(['api', 'control']))
    process.stdout.write(
      `the collector took ${spans.length} spans, ${trace.length} of them of the release, ` +
        `${new Set(metrics.map(({ name }) => name)).size} metrics and ${logs.length} log records\n`,
    )
    expect(complaints).toEqual([])
  },
)
