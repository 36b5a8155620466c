/**
 * Tests invalid routing rows, written by a program or by hand. The write refuses what a program could write by mistake; every replica
 * refuses the rest, keeps the last valid route and continues.
 */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Route } from '../../../../domain/serving/route.ts'
import { findRouting, writeRoute } from '../../../../store/serving/routing.ts'
import { laggingReplicas, listReplicaProgress } from '../../../../store/serving/replicas.ts'
import {
  openServingFixture,
  request,
  startReplica,
  threeVersions,
  until,
} from '../../../support/serving/serving-fixture.ts'
import type { ServingFixture, TestReplica } from '../../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let replica: TestReplica
let model: string
let champion: string
let candidate: string
beforeAll(async () => {
  fixture = await openServingFixture()
  replica = await startReplica(fixture)
  ;({ model, champion, candidate } = await threeVersions(fixture))
  await replica.follows(await fixture.route(model, { proven: champion }))
})
afterAll(async () => {
  await replica.stop()
  await fixture.close()
})

type Broken = (good: Route) => unknown
const arms = (...shares: unknown[]) =>
  shares.map((shareBp, index) => ({
    arm: ['champion', 'canary', 'control'][index],
    version: index === 1 ? candidate : champion,
    shareBp,
  }))

/** Rows that no program can write, because its types forbid them. */
const byHand: [string, Broken, RegExp][] = [
  ['blank', () => ({}), /arms is not a list/],
  ['null', () => null, /not an object/],
  ['a text', () => '', /not an object/],
  ['a list', () => [], /not an object/],
  ['an unknown field', (good) => ({ ...good, weights: {} }), /the field weights is unknown/],
  ['a share that is a text', (good) => ({ ...good, arms: arms('10000') }), /share of an arm is not a number/],
  ['a share that is null, as JSON writes NaN', (good) => ({ ...good, arms: arms(null) }), /is not a number/],
  ['an arm that is a text', (good) => ({ ...good, arms: ['champion'] }), /an arm is not an object/],
  ['an arm of no kind', (good) => ({ ...good, arms: [{ ...good.arms[0], arm: '' }] }), /there is no arm/],
  ['arms that are an object', (good) => ({ ...good, arms: { champion: 10_000 } }), /arms is not a list/],
  ['a salt that is a number', (good) => ({ ...good, salt: 7 }), /salt is not a text/],
  ['a generation that is a text', (good) => ({ ...good, generation: '9' }), /generation is not a number/],
  ['a release that is a number', (good) => ({ ...good, release: 1 }), /release is not a text/],
  ['a shadow that is a text', (good) => ({ ...good, shadow: candidate }), /shadow names no version/],
  ['a guard of texts', (good) => ({ ...good, guard: { rate: '1', alpha: '1' } }), /guard is not/],
  ['no proven version', ({ proven: _proven, ...good }) => good, /proven is not a text/],
  ['another model', (good) => ({ ...good, model: 'tulip' }), /model is tulip in the route/],
  ['another epoch than its row', (good) => ({ ...good, epoch: 99 }), /epoch is 99 in the route/],
]
/** Rows that a program could write by mistake. */
const byProgram: [string, (good: Route) => Partial<Record<keyof Route, unknown>>, RegExp][] = [
  ['shares below the whole', (good) => ({ ...good, arms: arms(9_999) }), /shares sum to 9999/],
  ['shares above the whole', (good) => ({ ...good, arms: arms(9_000, 2_000) }), /shares sum to 11000/],
  ['a negative share', (good) => ({ ...good, arms: arms(11_000, -1_000) }), /whole number of basis points/],
  ['half a basis point', (good) => ({ ...good, arms: arms(9_999.5, 0.5) }), /whole number of basis points/],
  ['no arms', (good) => ({ ...good, arms: [] }), /shares sum to 0/],
  [
    'no champion',
    (good) => ({ ...good, arms: [{ ...good.arms[0], arm: 'canary' }] }),
    /exactly one arm must be/,
  ],
  [
    'an arm twice',
    (good) => ({ ...good, arms: [...arms(5_000), ...arms(5_000)] }),
    /exactly one arm must be/,
  ],
  [
    'a shadow of nothing',
    (good) => ({ ...good, shadow: { version: candidate, shareBp: 0 } }),
    /shadow share/,
  ],
  ['a blank proven version', (good) => ({ ...good, proven: '' }), /the known good version is missing/],
]
/** Errors that only a replica can detect. */
const atLoad: [string, Broken, RegExp][] = [
  [
    'an unknown version',
    (good) => ({ ...good, arms: [{ ...good.arms[0], version: 'nobody_v1.0.0' }] }),
    /there is no version/,
  ],
  ['an unknown proven version', (good) => ({ ...good, proven: 'nobody_v1.0.0' }), /there is no version/],
]

describe('an invalid route written by hand', () => {
  it.each([...byHand, ...byProgram, ...atLoad])(
    '%s is refused, and the last good route stays',
    async (_name, broken, why) => {
      const { route: good } = (await findRouting(fixture.store, model))!
      const before = replica.serving.routing.find(model)!.route
      const place = { ...good, generation: good.generation + 1 }
      await fixture.store.query(sql`
      update routing set generation = ${place.generation}, route = ${JSON.stringify(broken(place))}::jsonb
      where model = ${model}`)
      await replica.serving.refresh()
      expect(replica.ask(model, request())).toMatchObject({
        version: champion,
        generation: before.generation,
      })
      expect(replica.serving.routing.problems().get(model)?.text).toMatch(why)
      const issues = () =>
        listReplicaProgress(fixture.store, model).then((all) => laggingReplicas(all, place))
      await until(async () => (await issues()).join().includes(replica.id), 'the replica that is named')
      // A corrected row is followed at once.
      const mended = { ...place, generation: place.generation + 1 }
      await fixture.store.query(sql`
      update routing set generation = ${mended.generation}, route = ${JSON.stringify(mended)}::jsonb where model = ${model}`)
      await replica.serving.refresh()
      expect(replica.ask(model, request()).generation).toBe(mended.generation)
      expect(replica.serving.routing.problems().has(model)).toBe(false)
    },
  )
})

describe('an invalid route written by a program', () => {
  it.each(byProgram)('%s is refused at the write, and nothing is written', async (_name, broken, why) => {
    const { route } = (await findRouting(fixture.store, model))!
    await expect(
      writeRoute(fixture.store, { route: broken(route) as Route, replaces: route }),
    ).rejects.toMatchObject({ code: 'invalid_route', message: expect.stringMatching(why) })
    expect((await findRouting(fixture.store, model))!.route).toEqual(route)
  })
})
