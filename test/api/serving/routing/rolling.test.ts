/**
 * Tests a route that gives whole replicas to the candidate, and a rollback target that stays loaded, with real replicas in this process.
 */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseRow } from '../../../../api/serving/routing/route-follower.ts'
import { issuesOfRoute, routeAt, type Route } from '../../../../domain/serving/route.ts'
import {
  openServingFixture,
  request,
  replicaOfTest,
  threeVersions,
  until,
  type ServingFixture,
  type TestReplica,
} from '../../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
beforeAll(async () => {
  fixture = await openServingFixture()
})
afterAll(() => fixture.close())

const replicaOf = () => replicaOfTest(fixture)
const answeredBy = (replica: TestReplica, model: string) => [
  ...new Set(Array.from({ length: 60 }, (_, i) => replica.ask(model, request(`key ${i}`)).version)),
]

it('each replica serves all requests with one version', async () => {
  const { model, champion, candidate, canary } = await threeVersions(fixture)
  const [one, two] = [await replicaOf(), await replicaOf()]
  const route = await fixture.route(model, { ...canary(5_000), replicas: [one.id] }, 60_000)
  await Promise.all([one.follows(route), two.follows(route)])
  expect(answeredBy(one, model)).toEqual([candidate])
  expect(answeredBy(two, model)).toEqual([champion])
  // The exposure is not renewed, so the replica returns to the champion.
  await fixture.store.query(sql`update routing set exposed_until = now() where model = ${model}`)
  await Promise.all([one.serving.refresh(), two.serving.refresh()])
  expect(answeredBy(one, model)).toEqual([champion])
  const next = await fixture.route(model, { ...canary(5_000), replicas: [two.id] }, 60_000)
  await Promise.all([one.follows(next), two.follows(next)])
  expect([answeredBy(one, model), answeredBy(two, model)]).toEqual([[champion], [candidate]])
})

it('the rollback target is loaded while it serves no request, and a failed load blocks nothing', async () => {
  const { model, old, champion } = await threeVersions(fixture)
  const arms = [{ arm: 'champion' as const, version: champion, shareBp: 10_000 }]
  const replica = await replicaOf()
  const held = () => [...replica.serving.routing.loaded()].map(({ version }) => version)
  const route = await fixture.route(model, { arms, proven: champion, standby: old })
  await replica.follows(route)
  await until(() => held().includes(old), 'the way back in memory')
  expect(answeredBy(replica, model)).toEqual([champion])
  const odd = await fixture.route(model, { arms, proven: champion, standby: `${model}_v9.9.9` })
  await replica.follows(odd)
  expect(answeredBy(replica, model)).toEqual([champion])
  await until(() => !held().includes(old), 'the earlier way back forgotten')
})

it('a route that names replicas without a candidate, or an empty list of replicas, is refused', () => {
  const route: Route = {
    model: 'm',
    epoch: 1,
    generation: 1,
    salt: 's',
    proven: 'a',
    arms: [{ arm: 'champion', version: 'a', shareBp: 10_000 }],
    replicas: ['r1'],
  }
  expect(issuesOfRoute(route).join()).toMatch(/no arm is the canary/)
  expect(routeAt({ ...route, replicas: undefined } as unknown as Route, 'r1')).toMatchObject({
    arms: route.arms,
  })
  const row = (change: object) => ({
    model: 'm',
    epoch: 1,
    generation: 1,
    remainingMs: null,
    route: { ...route, ...change },
  })
  for (const change of [{ replicas: [] }, { replicas: 'r1' }, { replicas: [7] }])
    expect(parseRow(row(change))).toMatchObject({
      problem: expect.stringMatching(/replicas is not a list/) as string,
    })
  expect(parseRow(row({ standby: 7 }))).toMatchObject({
    problem: expect.stringMatching(/standby is not a text/) as string,
  })
})
