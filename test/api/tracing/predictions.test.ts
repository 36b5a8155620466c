/** Tests traced requests of a whole replica: spans, exemplars, and the process's logs and metrics at a collector. */
import { Client, credentials, Metadata, status, type ServiceError } from '@grpc/grpc-js'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { startInteropReplica, type InteropReplica } from '../../interop/replica.ts'
import { irisRow } from '../../support/serving/artifact.ts'
import { attributeOf, startCollector, type Collector } from '../../support/tracing/collector.ts'

let collector: Collector
let replica: InteropReplica

beforeAll(async () => {
  collector = await startCollector()
  // The SDK reads the variables of the process.
  for (const [name, value] of Object.entries(collector.environment)) vi.stubEnv(name, value)
  replica = await startInteropReplica({
    ...collector.environment,
    OTEL_TRACES_SAMPLER_ARG: '0',
    TENURE_GRPC_PORT: '0',
  })
})
afterAll(async () => {
  await replica?.stop()
  await collector?.stop()
})

const traceId = '0af7651916cd43dd8448eb211c80319c'
const parent = 'b7ad6b7169203331'
const sampled = `00-${traceId}-${parent}-01`

async function predict(headers: Record<string, string>, row: object = irisRow): Promise<number> {
  const answer = await fetch(`${replica.url}/v1/models/iris/predict`, {
    method: 'POST',
    headers: { authorization: `Bearer ${replica.key}`, 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ instances: [row] }),
  })
  await answer.text()
  return answer.status
}

const spans = () => collector.spans.filter(({ name }) => name === 'predict iris')

it("a sampled prediction is a child span of its caller's, with the arm and the version; others are not", async () => {
  expect(await predict({})).toBe(200)
  expect(await predict({ traceparent: sampled.replace(/01$/, '00') })).toBe(200)
  expect(await predict({ traceparent: sampled, tracestate: 'vendor=x' })).toBe(200)
  expect(await predict({ traceparent: sampled }, {})).toBe(422)
  await expect.poll(() => spans().length).toBe(2)
  const [served, refused] = spans()
  expect(served).toMatchObject({ traceId, parentSpanId: parent, traceState: 'vendor=x', kind: 2 })
  expect(served!.status.code).toBe(0)
  expect(attributeOf(served!, 'tenure.version')).toBe(replica.version)
  expect(attributeOf(served!, 'tenure.arm')).toBe('champion')
  expect(attributeOf(refused!, 'http.response.status_code')).toBe(422)
})

it('an exemplar of the latency histogram names the trace, only in the OpenMetrics format', async () => {
  expect(await predict({ traceparent: sampled })).toBe(200)
  const headers = { authorization: `Bearer ${replica.key}` }
  const plain = await (await fetch(`${replica.url}/metrics`, { headers })).text()
  expect(plain).not.toContain(traceId)
  const accept = 'application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5'
  const answer = await fetch(`${replica.url}/metrics`, { headers: { ...headers, accept } })
  const text = await answer.text()
  expect(answer.headers.get('content-type'), text).toBe(
    'application/openmetrics-text; version=1.0.0; charset=utf-8',
  )
  expect(text).toMatch(
    new RegExp(
      `tenure_prediction_seconds_bucket\\{model="iris",.*le="[\\d.e-]+"\\} \\d+ # \\{trace_id="${traceId}",span_id="[0-9a-f]{16}"\\} [\\d.e-]+ \\d+\\.\\d{3}`,
    ),
  )
  expect(text).toMatch(/# TYPE tenure_predictions counter\n/)
  expect(text).toMatch(/\ntenure_predictions_total\{/)
  expect(text.endsWith('# EOF\n')).toBe(true)
  // Names are unchanged for the next scrape.
  expect(await (await fetch(`${replica.url}/metrics`, { headers })).text()).toContain(
    '\ntenure_predictions_total{',
  )
})

it('a request of a route is a span; a command is a span at any sampling share', async () => {
  const headers = { authorization: `Bearer ${replica.key}`, 'content-type': 'application/json' }
  await fetch(`${replica.url}/v1/models`, { headers })
  await fetch(`${replica.url}/v1/models/iris/retrainings`, { method: 'POST', headers, body: '{}' })
  const route = () => collector.spans.filter(({ name }) => name.includes('/v1/models'))
  await expect.poll(() => route().map(({ name }) => name)).toEqual(['POST /v1/models/:name/retrainings'])
})

it("a gRPC call is a child span of its caller's", async () => {
  const client = new Client(`127.0.0.1:${replica.grpcPort}`, credentials.createInsecure())
  const metadata = new Metadata()
  metadata.set('authorization', `Bearer ${replica.key}`)
  metadata.set('traceparent', sampled)
  const same = (bytes: Buffer) => bytes
  // The name of the model in a refused request without rows.
  const request = Buffer.from('\n\u0004iris')
  const path = '/inference.GRPCInferenceService/ModelInfer'
  const refusal = await new Promise<ServiceError | null>((resolve) => {
    client.makeUnaryRequest(path, same, same, request, metadata, resolve)
  })
  client.close()
  expect(refusal?.code).toBe(status.INVALID_ARGUMENT)
  const called = () => spans().filter((span) => attributeOf(span, 'tenure.protocol') === 'grpc')
  await expect.poll(called).toMatchObject([{ traceId, parentSpanId: parent }])
})
