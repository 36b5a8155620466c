/** Tests that a replica treats a version that a server elsewhere answers as it treats any other, and waits for it nowhere. */
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest'
import { registerEndpoint, startEndpoint, type TestEndpoint } from '../../../support/serving/endpoint.ts'
import { irisSpec } from '../../../support/serving/artifact.ts'
import {
  askLater,
  openServingFixture,
  replicaOfTest,
  request,
  type ServingFixture,
} from '../../../support/serving/serving-fixture.ts'
import { uniqueName } from '../../../support/servers/servers.ts'

let fixture: ServingFixture
let endpoint: TestEndpoint
beforeAll(async () => {
  fixture = await openServingFixture()
  endpoint = await startEndpoint()
})
beforeEach(() => {
  vi.stubEnv('TENURE_PRIVATE_HOSTS', '127.0.0.1')
  endpoint.answer = () => [0.7, 0.2, 0.1]
  endpoint.fault = undefined
})
afterAll(async () => {
  await endpoint.stop()
  await fixture.close()
})
const unavailable = { code: 'model_unavailable', message: expect.stringContaining('answers 500') as string }

it('it answers callers, and rows of a cache are not asked again', async () => {
  const model = uniqueName('model')
  const version = await registerEndpoint(fixture, endpoint, { model })
  const replica = await replicaOfTest(fixture, { remembered: 10 })
  await replica.follows(await fixture.route(model, { proven: version }))
  const asked = endpoint.rows
  for (let time = 0; time < 3; time++) {
    const { predictions } = await askLater(replica, model, request())
    expect(predictions[0]?.probabilities).toMatchObject({ setosa: expect.closeTo(0.7, 6) as number })
  }
  expect(endpoint.rows).toBe(asked + 1)
})

it('a candidate whose server fails is dropped by its circuit breaker, and the champion answers', async () => {
  const model = uniqueName('model')
  const champion = await fixture.register(irisSpec(model))
  const candidate = await registerEndpoint(fixture, endpoint, { model, minor: 1 })
  const replica = await replicaOfTest(fixture)
  const canary = await fixture.route(
    model,
    {
      release: `rel_${model}`,
      tickMs: 60_000,
      guard: { rate: 0.01, alpha: 0.01 },
      proven: champion,
      arms: [
        { arm: 'canary', version: candidate, shareBp: 5_000 },
        { arm: 'champion', version: champion, shareBp: 5_000 },
      ],
    },
    60_000,
  )
  await replica.follows(canary)
  endpoint.fault = (_request, response) => void response.writeHead(500).end()
  const failures: unknown[] = []
  let last = ''
  for (let caller = 0; caller < 400; caller++)
    await askLater(replica, model, request(`caller ${caller}`)).then(
      ({ version }) => (last = version),
      (error: unknown) => failures.push(error),
    )
  expect(failures.length).toBeGreaterThan(0)
  expect(failures.length).toBeLessThan(50)
  expect(failures[0]).toMatchObject(unavailable)
  expect(last).toBe(champion)
})

it('a replica that starts serves it although its server has changed, as the replicas that run do', async () => {
  const model = uniqueName('model')
  const version = await registerEndpoint(fixture, endpoint, { model })
  const route = await fixture.route(model, { proven: version })
  const running = await replicaOfTest(fixture)
  await running.follows(route)
  endpoint.answer = () => [0.6, 0.3, 0.1]
  const started = await replicaOfTest(fixture)
  await started.follows(route)
  for (const replica of [running, started])
    expect(await askLater(replica, model, request())).toMatchObject({
      version,
      predictions: [{ probabilities: { setosa: expect.closeTo(0.6, 6) as number } }],
    })
})

it('a replica starts while its server is down, and answers once it is back', async () => {
  const model = uniqueName('model')
  const version = await registerEndpoint(fixture, endpoint, { model })
  endpoint.fault = (_request, response) => void response.writeHead(500).end()
  const route = await fixture.route(model, { proven: version })
  const replica = await replicaOfTest(fixture)
  await replica.follows(route)
  await expect(askLater(replica, model, request())).rejects.toMatchObject(unavailable)
  endpoint.fault = undefined
  expect((await askLater(replica, model, request())).version).toBe(version)
})

it('a server that never answers delays the routes of no other model', async () => {
  const [slow, other] = [uniqueName('model'), uniqueName('model')]
  const version = await registerEndpoint(fixture, endpoint, { model: slow, timeoutMs: 60_000 })
  const local = await fixture.register(irisSpec(other))
  endpoint.fault = () => {}
  const replica = await replicaOfTest(fixture)
  await replica.follows(await fixture.route(slow, { proven: version }))
  await replica.follows(await fixture.route(other, { proven: local }))
  expect(replica.ask(other, request()).version).toBe(local)
})
