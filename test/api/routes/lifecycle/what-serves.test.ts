/**
 * Tests that every place that names the share of a candidate names what replicas serve: the pages, `tenure status`,
 * `tenure releases show`, the API and `/readyz`.
 */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { releasesGroup } from '../../../../cli/commands/lifecycle/releases.ts'
import { statusCommand } from '../../../../cli/commands/admin/status.ts'
import { openingState, type ReleaseState } from '../../../../domain/release/state.ts'
import type { Route } from '../../../../domain/serving/route.ts'
import { insertDecision } from '../../../../store/release/decisions.ts'
import { insertRelease } from '../../../../store/release/releases.ts'
import { acknowledge, endLease, renewLease } from '../../../../store/serving/replicas.ts'
import { runCommand } from '../../../support/command-line.ts'
import { releaseFacts, releasePolicy } from '../../../support/release/releases.ts'
import {
  openServingFixture,
  startApi,
  threeVersions,
  type ServingFixture,
  type TestApi,
} from '../../../support/serving/serving-fixture.ts'

const hourMs = 3_600_000
let fixture: ServingFixture
let api: TestApi
let key: string
let url: string
let server: Server
let model: string
let state: ReleaseState
let change: Partial<Route>
let route: Route

beforeAll(async () => {
  fixture = await openServingFixture()
  const three = await threeVersions(fixture)
  model = three.model
  change = { ...three.canary(2_500), release: 'rel_1' }
  route = await fixture.route(model, change, hourMs)
  // A replica takes no longer exposure from the route.
  const policy = { ...releasePolicy, watch: { ...releasePolicy.watch, exposureMs: hourMs } }
  const facts = { ...releaseFacts, policy, model, version: three.candidate, baseline: three.champion }
  state = {
    ...openingState(facts, Date.now()),
    stage: 'canary',
    stageIndex: 1,
    shareBp: 2_500,
    routed: true,
    routings: [
      { stage: 'canary', stageIndex: 1, generation: route.generation, shareBp: 2_500, startedMs: Date.now() },
    ],
  }
  await insertRelease(fixture.store, { state, workflowId: `release/${model}`, runId: 'run' })
  api = await startApi(fixture)
  await api.follows(route)
  key = await fixture.key({ role: 'viewer' })
  await api.deps.authentication.refresh()
  server = createServer((asked, response) => {
    void api
      .request('GET', asked.url!, { key })
      .then(({ text, status }) => response.writeHead(status).end(text))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(async () => {
  server.close()
  await api.stop()
  await fixture.close()
})

/** The text of a part of a page. */
const shownAt = async (path: string, part: RegExp) =>
  part
    .exec((await api.request('GET', path, { key })).text)![0]
    .replaceAll(/<[^>]*>/g, '')
    .replaceAll(/\s+/g, ' ')

/** What each place says of the candidate. */
const places: Record<string, () => Promise<string>> = {
  page: () => shownAt('/releases/rel_1', /<section[^>]*aria-label="Verdict"[^]*?<\/section>/),
  'list of releases': () => shownAt('/releases', /<tbody>[^]*<\/tbody>/),
  overview: () => shownAt('/', /<main[^]*<\/main>/),
  guide: () => shownAt('/guide', /<main[^]*<\/main>/),
  status: async () => {
    const { out } = await runCommand([statusCommand], ['status', '--url', url])
    return out.slice(out.indexOf('rel_1')).split('\n\n')[0]!
  },
  'releases show': async () => {
    const { out } = await runCommand([releasesGroup], ['releases', 'show', 'rel_1', '--url', url])
    return out.slice(out.indexOf('stage'), out.indexOf('requested by'))
  },
  'releases list': async () => (await runCommand([releasesGroup], ['releases', '--url', url])).out,
  'one release in the API': async () =>
    servesOf((await api.request('GET', '/v1/releases/rel_1', { key })).json),
  'all releases in the API': async () =>
    servesOf(((await api.request('GET', '/v1/releases', { key })).json['releases'] as object[])[0]!),
}
const servesOf = (json: object): string => {
  const { traffic_bp: bp, why, warning } = json as { traffic_bp: number; why: string; warning?: string }
  return `${bp / 100} %; ${why}; ${warning}`
}
const armsOfReplica = async () => {
  const { json } = await api.request('GET', '/readyz', { key })
  const found = (json['models'] as Route[]).find((each) => each.model === model)
  return found?.arms.map(({ arm, shareBp }) => `${arm} ${shareBp}`)
}

it.each(Object.keys(places))('%s names the share of a candidate that every replica serves', async (place) => {
  expect(await places[place]!()).toContain('25 %')
  expect(await armsOfReplica()).toEqual(['canary 2500', 'champion 7500'])
})

describe('beside a replica', () => {
  const replica = 'other'
  const join = () =>
    renewLease(fixture.store, {
      replica: { id: replica, host: 'h', pid: 1, url: 'u', buildId: 'b' },
      leaseMs: 600_000,
    })
  afterAll(() => endLease(fixture.store, replica))

  it.each(Object.keys(places))('that is behind, %s halves the share', async (place) => {
    await join()
    const said = await places[place]!()
    expect(said).toContain('12.5 %')
    if (place !== 'releases list') expect(said).toContain('1 of 2 replicas still switching')
  })

  it.each(Object.keys(places))(
    'that cannot load the candidate, %s halves the share and says why',
    async (place) => {
      await join()
      const { epoch, generation } = route
      await acknowledge(fixture.store, { replica, model, epoch, generation, problem: 'its bytes differ' })
      const said = await places[place]!()
      expect(said).toContain('12.5 %')
      if (place !== 'releases list') expect(said).toContain('1 of 2 replicas cannot follow: its bytes differ')
    },
  )
})

describe('while no request comes', () => {
  it.each(Object.keys(places))('%s says when the candidate is rolled back', async (place) => {
    await insertDecision(fixture.store, {
      releaseId: 'rel_1',
      stage: 'canary',
      stageIndex: 1,
      verdict: {
        kind: 'no_data',
        reasons: [
          {
            code: 'no_traffic',
            message: 'no request yet in this stage, which began at 2026-11-20T10:00:00.000Z',
            values: {},
          },
        ],
        statistics: {},
        judge: 'canary@1',
      },
      inputs: {},
      policyDigest: 'p',
    })
    const said = await places[place]!()
    expect(said).not.toContain('No regression')
    if (place !== 'releases list') expect(said).toContain('No requests yet. Rolls back in 1 s')
  })
})

describe('after the exposure of the candidate is over', () => {
  beforeAll(async () => {
    route = await fixture.route(model, change, 1)
    await api.follows(route)
    // With the hour of the lease more than 3 h, for the next hour.
    await fixture.store.query(sql`
      update routing set exposed_until = clock_timestamp() - interval '2 hours' where model = ${model}`)
  })

  it.each(Object.keys(places))('%s says that it is withdrawn, and names no share of it', async (place) => {
    const said = await places[place]!()
    expect(said).not.toMatch(/25 %|No regression/)
    expect(said).toMatch(/\b0 %/)
    if (place !== 'releases list')
      expect(said).toMatch(/Not watched for 4 h: candidate gets no traffic, champion serves/)
  })

  it('/readyz names the champion alone', async () => {
    await expect.poll(armsOfReplica).toEqual(['champion 10000'])
  })
})
