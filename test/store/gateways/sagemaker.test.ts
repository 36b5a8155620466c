/**
 * Tests what an endpoint of SageMaker is set to, which counts of CloudWatch count, and what its errors say. Whole releases and AWS's service
 * models are in test/interop.
 */
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { seededRandom } from '@tenure/sequential'
import { servedSince, type GatewayCounters } from '../../../domain/serving/gateway.ts'
import { countedMinutes, openSagemaker } from '../../../store/gateways/sagemaker.ts'

const minuteMs = 60_000
const dayMs = 86_400_000

describe('the minutes that count', () => {
  const changedMs = Date.UTC(2026, 10, 30, 6, 31, 12)
  it('begin after the one of the last change, and end two minutes ago', () => {
    const firstMs = Date.UTC(2026, 10, 30, 6, 32)
    expect(countedMinutes(changedMs, firstMs + 185_000)).toEqual({
      sinceMs: firstMs,
      untilMs: firstMs + minuteMs,
    })
    const { sinceMs, untilMs } = countedMinutes(changedMs, changedMs + 1_000)
    expect(untilMs).toBeLessThan(sinceMs)
  })
  it('begin anew after a day, once its last minutes have had five minutes to grow', () => {
    const firstMs = Date.UTC(2026, 10, 30, 6, 32)
    const lastMs = firstMs + dayMs + 420_000
    expect(countedMinutes(changedMs, lastMs - 1)).toEqual({ sinceMs: firstMs, untilMs: firstMs + dayMs })
    expect(countedMinutes(changedMs, lastMs)).toEqual({
      sinceMs: firstMs + dayMs,
      untilMs: firstMs + dayMs + 300_000,
    })
  })

  it('count each request once, in whatever order its point arrives, and whichever replica reads it', () => {
    for (let seed = 1; seed <= 5; seed++) {
      const random = seededRandom(seed)
      // Points of two days and some, each in parts that arrive up to an hour after the end of their minute, and in the last hour of a day of
      // counts up to four minutes after it, before the last look at that day.
      const latestMs = (minute: number) =>
        (minute % 1_440 >= 1_370 || minute % 1_440 < 10 ? 3.9 : 60) * minuteMs
      const points = Array.from({ length: 3_000 }, (_, minute) =>
        Array.from({ length: 1 + Math.floor(3 * random()) }, () => ({
          atMs: minute * minuteMs,
          arrivesMs: (minute + 1) * minuteMs + random() * latestMs(minute),
          requests: Math.floor(50 * random()),
        })),
      ).flat()
      const fromMs = 7 * minuteMs * random()
      const [firstMs, endMs] = [Math.ceil(fromMs / minuteMs) * minuteMs, 3_070 * minuteMs]
      let before: GatewayCounters[string] = { sinceMs: 0, attempts: 0, requests: 0, failures: 0 }
      let counted = 0
      for (let nowMs = fromMs; nowMs < endMs; nowMs += 10_000 + 170_000 * random()) {
        // Clocks of replicas differ by some seconds.
        const { sinceMs, untilMs } = countedMinutes(fromMs, nowMs + 6_000 * (random() - 0.5))
        const requests = points
          .filter(({ atMs, arrivesMs }) => atMs >= sinceMs && atMs < untilMs && arrivesMs <= nowMs)
          .reduce((sum, point) => sum + point.requests, 0)
        const server = {
          name: 'm',
          weight: 1,
          isUp: true,
          lease: 'absent',
          sinceMs,
          attempts: requests,
        } as const
        const { served, after } = servedSince(before, { ...server, requests, failures: 0 })
        before = after
        counted += served.requests
        const arrived = points.filter(({ atMs, arrivesMs }) => atMs >= firstMs && arrivesMs <= nowMs)
        expect(counted).toBeLessThanOrEqual(arrived.reduce((sum, point) => sum + point.requests, 0))
      }
      const all = points.filter(({ atMs }) => atMs >= firstMs).reduce((sum, point) => sum + point.requests, 0)
      expect(counted).toBe(all)
    }
  })
})

interface Endpoint {
  status: string
  /** The present weights, and those that were ordered. */
  weights: Record<string, number>
  desired: Record<string, number>
}

/** Opens an endpoint whose answers the test gives. */
function opened(weights: Record<string, number>, fails: Record<string, [number, object]> = {}) {
  const endpoint: Endpoint = { status: 'InService', weights, desired: { ...weights } }
  const asked: { operation: string; input: Record<string, unknown> }[] = []
  const operations: Record<string, (input: never) => object> = {
    DescribeEndpoint: () => ({
      EndpointStatus: endpoint.status,
      LastModifiedTime: Date.UTC(2026, 10, 1) / 1_000,
      ProductionVariants: Object.entries(endpoint.weights).map(([VariantName, CurrentWeight]) => ({
        VariantName,
        CurrentWeight,
        DesiredWeight: endpoint.desired[VariantName],
        CurrentInstanceCount: 1,
      })),
    }),
    UpdateEndpointWeightsAndCapacities(input: {
      DesiredWeightsAndCapacities: { VariantName: string; DesiredWeight: number }[]
    }) {
      for (const { VariantName, DesiredWeight } of input.DesiredWeightsAndCapacities)
        endpoint.desired[VariantName] = DesiredWeight
      endpoint.status = 'Updating'
      return { EndpointArn: 'arn' }
    },
    GetMetricData: (input: { NextToken?: string; MetricDataQueries: { Id: string }[] }) => ({
      // In two parts, each with the half of the points.
      NextToken: input.NextToken === undefined ? 'second' : undefined,
      MetricDataResults: input.MetricDataQueries.map(({ Id }, at) => ({
        Id,
        Values: [10 * (at + 1), 1],
        StatusCode: input.NextToken === undefined ? 'PartialData' : 'Complete',
      })),
    }),
  }
  const gateway = openSagemaker(
    { gateway: 'sagemaker', region: 'eu-west-1', endpoint: 'roses', secret: 'aws' },
    (question) => {
      const operation = question.headers['x-amz-target']!.split('.')[1]!
      const input = JSON.parse(String(question.body)) as Record<string, unknown>
      asked.push({ operation, input })
      const [status, answer] = fails[operation] ?? [200, operations[operation]!(input as never)]
      return Promise.resolve({ status, body: Buffer.from(JSON.stringify(answer)), headers: {} })
    },
  )
  const done = () => {
    endpoint.weights = { ...endpoint.desired }
    endpoint.status = 'InService'
  }
  const orders = () => asked.filter(({ operation }) => operation.startsWith('Update')).length
  return { endpoint, asked, gateway, done, orders }
}
const none = { leased: [] }
/** Passes the time for which a description is kept. */
function keptTime() {
  vi.useFakeTimers({ toFake: ['performance'] })
  onTestFinished(() => void vi.useRealTimers())
  return { pass: () => vi.advanceTimersByTime(2_001) }
}

describe('an endpoint', () => {
  it('names its variants by versions, and counts them in all parts of an answer', async () => {
    const { gateway } = opened({ 'roses-v1-0-0': 90, 'old-roses-v1-1-0': 10, other: 0 })
    expect(await gateway.read()).toMatchObject([
      { name: 'roses_v1.0.0', weight: 90, isUp: true, lease: 'absent', requests: 22, failures: 42 },
      { name: 'old-roses_v1.1.0', weight: 10, requests: 62, failures: 82 },
      { name: 'other', weight: 0 },
    ])
  })
  it('lags while it is updated, and while another hand has ordered other weights', async () => {
    const { pass } = keptTime()
    const { endpoint, gateway } = opened({ 'roses-v1-0-0': 90, 'roses-v1-1-0': 10 })
    const lags = async () => {
      pass()
      return (await gateway.read()).map(({ lag }) => lag)
    }
    expect(await lags()).toEqual([undefined, undefined])
    endpoint.status = 'Updating'
    expect(await lags()).toEqual(Array(2).fill('the endpoint roses is Updating'))
    endpoint.desired['roses-v1-1-0'] = 50
    expect((await lags())[1]).toBe('the weight of roses-v1-1-0 is 10, and 50 was ordered of SageMaker')
  })
  it('is described once in two seconds, also for orders that it does not take', async () => {
    const { pass } = keptTime()
    const { endpoint, gateway, asked } = opened({ 'roses-v1-0-0': 90, 'roses-v1-1-0': 10 })
    endpoint.status = 'Updating'
    for (let look = 0; look < 8; look++) {
      if (look === 4) pass()
      const rollback = gateway.set({ ...none, weights: { 'roses_v1.0.0': 100 } }, await gateway.read())
      await expect(rollback).rejects.toThrow(/tried again/)
    }
    expect(asked.filter(({ operation }) => operation === 'DescribeEndpoint')).toHaveLength(2)
  })
  it('takes no order while it carries out another one, which it then takes', async () => {
    const { pass } = keptTime()
    const { endpoint, gateway, done, orders } = opened({ 'roses-v1-0-0': 100, 'roses-v1-1-0': 0 })
    const servers = await gateway.read()
    const share = { ...none, weights: { 'roses_v1.0.0': 90, 'roses_v1.1.0': 10 } }
    const rollback = { ...none, weights: { 'roses_v1.0.0': 100 } }
    // It still has the weights of before.
    expect(await gateway.set(share, servers)).toMatchObject([{ weight: 100 }, { weight: 0 }])
    await expect(gateway.set(rollback, servers)).rejects.toThrow(/roses is Updating, .* tried again/)
    done()
    pass()
    expect(await gateway.set(share, servers)).toMatchObject([{ weight: 90 }, { weight: 10 }])
    expect(orders()).toBe(1)
    await gateway.set(rollback, servers)
    expect(endpoint.desired).toEqual({ 'roses-v1-0-0': 100, 'roses-v1-1-0': 0 })
    done()
    pass()
    expect(await gateway.set(rollback, servers)).toMatchObject([{ weight: 100 }, { weight: 0 }])
    expect(orders()).toBe(2)
  })
  it('is up only in a state in which it answers', async () => {
    const { endpoint, gateway } = opened({ 'roses-v1-0-0': 100 })
    endpoint.status = 'OutOfService'
    expect(await gateway.read()).toMatchObject([{ isUp: false }])
  })
  it('can be set while CloudWatch gives no counts, and says so', async () => {
    const denied = { __type: 'com.amazonaws#AccessDeniedException' }
    const { gateway, endpoint } = opened(
      { 'roses-v1-0-0': 90, 'roses-v1-1-0': 10 },
      { GetMetricData: [400, denied] },
    )
    const unread =
      'the key of the secret aws may not cloudwatch:GetMetricData: allow it in the policy of its user'
    const servers = await gateway.read()
    expect(servers).toMatchObject([
      { weight: 90, unread },
      { weight: 10, unread },
    ])
    await gateway.set({ ...none, weights: { 'roses_v1.0.0': 100 } }, servers)
    expect(endpoint.desired['roses-v1-1-0']).toBe(0)
  })
  it.each<[string, number, object, RegExp]>([
    [
      'a missing permission',
      400,
      { __type: 'AccessDeniedException' },
      /may not sagemaker:DescribeEndpoint: allow it/,
    ],
    [
      'a wrong key',
      400,
      { __type: 'UnrecognizedClientException' },
      /does not accept the key of the secret aws .*renew/,
    ],
    ['a wrong clock', 403, { __type: 'InvalidSignatureException' }, /set the clock/],
    ['too many requests', 400, { __type: 'ThrottlingException' }, /limits the requests .* tried again/],
    ['a fault of AWS', 503, {}, /AWS fails: sagemaker:DescribeEndpoint is tried again \(the status 503\)/],
    [
      'another error',
      400,
      { __type: 'ValidationException', message: 'Could not find endpoint' },
      /fails with ValidationException: Could not find endpoint/,
    ],
    ['another answer', 200, {}, /answer of sagemaker:DescribeEndpoint cannot be used/],
  ])('says what to do about %s', async (_name, status, answer, reason) => {
    const { gateway, asked } = opened({}, { DescribeEndpoint: [status, answer] })
    await expect(gateway.read()).rejects.toThrow(reason)
    // The next look is not another request.
    await expect(gateway.read()).rejects.toThrow(reason)
    expect(asked).toHaveLength(1)
  })
})
