/** Tests that the reader of user events adds each user once, in its first arm, to the metrics of its events. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { businessReader } from '../../../../activities/release/evidence/business-events.ts'
import type { BusinessMetric } from '../../../../domain/canary/business-policy.ts'
import { openingState, type ReleaseState } from '../../../../domain/release/state.ts'
import { businessAlpha } from '../../../../domain/canary/alpha-split.ts'
import { insertEvents } from '../../../../store/monitoring/events.ts'
import type { Store } from '../../../../store/postgres.ts'
import { releaseFacts } from '../../../support/release/releases.ts'
import { migratedDatabase, openPatientStore, uniqueName } from '../../../support/servers/servers.ts'

let store: Store
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase())
})
afterAll(() => store?.close())

const conversion: BusinessMetric = {
  event: 'purchase',
  counts: 'any',
  min: 0,
  max: 1,
  withinMs: 60_000,
  delayMs: 1_000,
  lowerIsBetter: false,
  action: 'rollback',
}
const business = {
  conversion,
  revenue: { ...conversion, counts: 'total', max: 50 },
  rating: { ...conversion, event: 'rating', counts: 'mean', min: 1, max: 5, withinMs: 120_000 },
} satisfies Record<string, BusinessMetric>

it('a user is added once, in the arm of the first request, and a mean leaves out users without events', async () => {
  const model = uniqueName('model')
  await store.query(sql`insert into models (name, definition, code_digest) values (${model}, '{}', 'c')`)
  const startMs = Date.now() - 600_000
  const { version, baseline, policy } = releaseFacts
  const routing = { stageIndex: 0, shareBp: 5_000, startedMs: startMs }
  const state: ReleaseState = {
    ...openingState({ ...releaseFacts, id: `rel_${model}`, model }, 0),
    policy: { ...policy, limits: { ...policy.limits, alpha: businessAlpha, business } },
    routings: [
      { ...routing, stage: 'shadow', generation: 1 },
      { ...routing, stage: 'canary', generation: 2 },
      { ...routing, stage: 'canary', generation: 3, stageIndex: 1, shareBp: 7_500 },
    ],
  }
  const ask = (user: string, by: string, generation: number, second: number) =>
    store.query(sql`
    insert into predictions (id, at, model, version, arm, release_id, generation, routing_key, instances, features, outputs, latency_us)
    values (${`${randomUUID().slice(0, -4)}0000`}, ${new Date(startMs + second * 1_000).toISOString()}, ${model}, ${by}, 'canary', ${state.id},
      ${generation}, ${user}, 1, '', '{0}', 1)`)
  const act = async (user: string, name: string, value: number, second: number) => {
    const occurredAt = new Date(startMs + second * 1_000).toISOString()
    const id = randomUUID()
    await insertEvents(store, {
      source: 'shop',
      events: [{ id, digest: '00', routingKey: user, model, name, value, occurredAt }],
    })
    await store.query(sql`update events set arrived_at = ${occurredAt} where id = ${id}`)
  }
  // Answered in the shadow, where the candidate serves no caller.
  await ask('zoe', baseline!, 1, 0)
  await ask('anna', baseline!, 2, 1)
  await ask('ben', version, 2, 2)
  // At the larger share the user moves to the candidate.
  await ask('anna', version, 3, 10)
  await act('anna', 'purchase', 80, 12)
  await act('anna', 'purchase', 10, 13)
  await act('ben', 'purchase', 30, 14)
  await act('ben', 'rating', 4, 15)
  await act('zoe', 'purchase', 30, 16)

  const reader = businessReader(store, state)!
  const evidence = await reader.next()
  expect(evidence['conversion']).toMatchObject({
    users: { canary: 1, control: 1 },
    means: { canary: 1, control: 1 },
  })
  expect(evidence['revenue']).toMatchObject({ means: { canary: 30, control: 50 } })
  expect(evidence['rating']).toMatchObject({ users: { canary: 1, control: 0 }, means: null })
  // A later look adds new users, and none twice.
  await ask('cleo', version, 2, 20)
  expect((await reader.rest())['conversion']).toMatchObject({ users: { canary: 2, control: 1 } })
  expect((await reader.rest())['conversion']).toMatchObject({ users: { canary: 2, control: 1 } })
  expect(businessReader(store, { ...state, routings: state.routings.slice(0, 1) })).toBeUndefined()
})
