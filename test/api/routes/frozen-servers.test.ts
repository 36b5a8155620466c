/** Tests that every declared route responds while Postgres or Temporal is frozen, with a retryable error. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RunningPostgres, type RunningTemporal, startPostgres, startTemporal } from '@tenure/embedded'
import { irisRow, irisSpec } from '../../support/serving/artifact.ts'
import { expectWithin, reached } from '../../faults/figures.ts'
import { freeze } from '../../support/servers/freeze.ts'
import { placePostgres } from '../../support/servers/own-servers.ts'
import {
  methodOf,
  servingFixtureOn,
  startApi,
  until,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'

const root = mkdtempSync(join(tmpdir(), 'tenure-frozen-'))
chmodSync(root, 0o711)
let postgres: RunningPostgres
let temporal: RunningTemporal
let fixture: ServingFixture
let api: TestApi
let key: string

beforeAll(async () => {
  await placePostgres(join(root, 'postgres'))
  postgres = await startPostgres({ dataDir: join(root, 'postgres') })
  temporal = await startTemporal({ uiPort: false })
  fixture = servingFixtureOn({ databaseUrl: postgres.url })
  key = await fixture.key()
  await fixture.route('iris', { proven: await fixture.register(irisSpec()) })
  api = await startApi(fixture, {
    temporal: { address: temporal.address, namespace: 'default', controlQueue: 'unserved' },
    deadlines: 'as served',
  })
  await until(() => api.serving.routing.find('iris') !== undefined, 'the route')
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
  await Promise.all([postgres.stop(), temporal.stop()])
  rmSync(root, { recursive: true, force: true })
})

const parameters: Record<string, string> = { name: 'iris', model: 'iris', version: 'iris_v1.0.0' }
/** Bodies that pass validation and reach the servers; every other command is sent without fields. */
const bodies: Record<string, unknown> = {
  '/v1/models/:name/predict': { instances: [irisRow] },
  '/v1/outcomes': {
    outcomes: [
      {
        prediction_id: '019f0000-0000-7000-8000-000000000000',
        value: 1,
        observed_at: '2026-01-01T00:00:00Z',
      },
    ],
  },
  '/v1/events': { routing_key: 'anna', name: 'purchase', value: 1, occurred_at: '2026-01-01T00:00:00Z' },
  '/v1/releases': { model: 'iris', version: 'iris_v1.0.0' },
  '/v1/keys': { name: 'reader', role: 'viewer' },
  '/v1/drills': { model: 'iris' },
}

interface Answered {
  route: string
  status: number
  ms: number
  retryAfter: string | null
}

/** Sends a request to every route, a few at a time. */
async function walk(): Promise<Answered[]> {
  const left = [...api.routes]
  const answers: Answered[] = []
  const ask = async (): Promise<void> => {
    for (let route = left.shift(); route !== undefined; route = left.shift()) {
      const path = route.path.replaceAll(/:(\w+)/g, (_, name: string) => parameters[name] ?? 'rel_x')
      const from = performance.now()
      const answer = await api.request(methodOf(route), path, {
        key,
        ...(route.method === 'get' ? {} : { body: bodies[route.path] ?? {} }),
        ...(route.contentTypes === undefined ? {} : { headers: { 'content-type': route.contentTypes[0]! } }),
      })
      answers.push({
        route: `${route.method} ${route.path}`,
        status: answer.status,
        ms: performance.now() - from,
        retryAfter: answer.headers.get('retry-after'),
      })
    }
  }
  await Promise.all(Array.from({ length: 4 }, ask))
  return answers
}

/** Postgres alone would repeat what both show: a route that asks it refuses in either case. */
const servers = {
  Temporal: () => [freeze(temporal.pid)],
  both: () => [freeze(postgres.pid), freeze(temporal.pid)],
}

describe.each(['Temporal', 'both'] as const)('beside %s frozen', (which) => {
  it('every route responds, and a failed command may be retried', async () => {
    const thaws = servers[which]()
    let answers: Answered[]
    try {
      answers = await walk()
    } finally {
      for (const thaw of thaws) thaw()
    }
    expect(answers).toHaveLength(api.routes.length)
    for (const { route, status, retryAfter, ms } of answers) {
      // All responses have arrived before the thaw; refusals come sooner than the default deadline of a statement, 10 s.
      if (status < 500) continue
      expectWithin(ms, 9_000)
      expect([route, status, retryAfter]).toEqual([route, 503, '1'])
    }
    const statusOf = (route: string) => answers.find((answer) => answer.route === route)?.status
    for (const route of [
      'post /v1/models/:name/predict',
      'get /livez',
      'get /readyz',
      'get /metrics',
      'get /docs',
    ])
      expect([route, statusOf(route)]).toEqual([route, 200])
    const refused = answers.filter(({ status }) => status === 503)
    if (which === 'both') {
      const slowest = (path: RegExp) =>
        Math.round(Math.max(...refused.filter(({ route }) => path.test(route)).map(({ ms }) => ms)))
      reached(
        'F12',
        `${refused.length} routes refuse: commands and queries within ${slowest(/ \/v1\//)} ms, pages within ${slowest(/ \/(?!v1)/)} ms`,
      )
    }
    // The command is recorded when only Temporal is away.
    expect(statusOf('post /v1/models/:name/retrainings')).toBe(which === 'Temporal' ? 202 : 503)
    expect(refused.length).toBeGreaterThan(which === 'Temporal' ? 0 : 15)
    await until(
      async () => (await api.request('GET', '/v1/models', { key })).status === 200,
      'Postgres again',
    )
  })
})
