/** Tests replicas that follow a route which the database has lost, as after a restore or a failover, until its epoch is raised. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { laggingReplicas, listReplicaProgress } from '../../../../store/serving/replicas.ts'
import {
  openServingFixture,
  request,
  startReplica,
  threeVersions,
  type ServingFixture,
} from '../../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
beforeAll(async () => {
  fixture = await openServingFixture()
})
afterAll(() => fixture?.close())

it('a replica that follows a route which the database has lost keeps it, and does not count as following a later one', async () => {
  const { model, champion, old } = await threeVersions(fixture)
  const replica = await startReplica(fixture)
  await fixture.route(model, { proven: champion })
  const second = await fixture.route(model, { proven: champion })
  await replica.follows(second)
  const arms = [{ arm: 'champion', version: old, shareBp: 10_000 }]
  const lose = async (generation: number) => {
    await fixture.store.query(sql`
      update routing set generation = ${generation}, route = route || ${JSON.stringify({ generation, proven: old, arms })}
      where model = ${model}`)
    await replica.serving.refresh()
  }
  const lagging = async (generation: number) =>
    laggingReplicas(await listReplicaProgress(fixture.store, model), { epoch: 1, generation })
  const served = () => replica.ask(model, request())
  // The route is acknowledged shortly after it is followed.
  await expect.poll(() => lagging(2)).toEqual([])
  await lose(1)
  expect(served()).toMatchObject({ version: champion, generation: 2 })
  expect(await lagging(1)).toEqual([
    expect.stringContaining('follows generation 2 of epoch 1, which is newer; the database has lost'),
  ])
  // Written again, under the generation that the replica has passed.
  await lose(2)
  expect(served()).toMatchObject({ version: champion, generation: 2 })
  expect(await lagging(2)).toEqual([
    expect.stringContaining('follows another route of generation 2; the database has lost'),
  ])
  await fixture.store.query(
    sql`update routing set epoch = 2, route = route || '{"epoch": 2}' where model = ${model}`,
  )
  await replica.serving.refresh()
  expect(served()).toMatchObject({ version: old, generation: 2 })
  expect(replica.serving.routing.problems().has(model)).toBe(false)
  await replica.stop()
})
