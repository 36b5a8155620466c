/** Tests that versions with other features serve the same callers: features of the model file and of other versions are no unknown fields. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Feature, FeatureRow } from '../../../../domain/model/features.ts'
import { irisRow, irisSpec, type ArtifactSpec } from '../../../support/serving/artifact.ts'
import { uniqueName } from '../../../support/servers/servers.ts'
import {
  openServingFixture,
  replicaOfTest,
  type ServingFixture,
  type TestReplica,
} from '../../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
beforeAll(async () => {
  fixture = await openServingFixture()
})
afterAll(async () => {
  await fixture.close()
})

const { petalWidth, ...narrowRow } = irisRow as Record<string, number>

/** The model with the last of its features under another name. */
function renamed(model: string, name: string, feature: Feature): ArtifactSpec {
  const spec = irisSpec(model, 3)
  const { petalWidth: _dropped, ...kept } = spec.features
  return {
    ...spec,
    features: { ...kept, [name]: feature },
    preprocessing: spec.preprocessing.map((fit) => (fit.name === 'petalWidth' ? { ...fit, name } : fit)),
    golden: spec.golden.map(({ petalWidth: value, ...row }): FeatureRow => ({ ...row, [name]: value! })),
  }
}
const answers = (replica: TestReplica, model: string, row: FeatureRow): string => {
  try {
    return replica.ask(model, { instances: [row] }).version
  } catch (error) {
    return (error as { code: string }).code
  }
}
/** Stores a model file with these features. */
const sync = (model: string, features: object) =>
  fixture.store.query(sql`
    update models set definition = definition || ${JSON.stringify({ features })}, synced_at = now() where name = ${model}`)

describe('a field of a request that is no feature of the version that answers', () => {
  it('is ignored from the moment when the model file names it, also after a start without Postgres', async () => {
    const model = uniqueName('model')
    const spec = irisSpec(model)
    const champion = await fixture.register(spec)
    const replica = await replicaOfTest(fixture)
    await replica.follows(await fixture.route(model, { proven: champion }))
    const row = { ...irisRow, colour: 'red' }
    expect(answers(replica, model, row)).toBe('unknown_feature')
    await sync(model, { ...spec.features, colour: { kind: 'category', missing: 'fill' } })
    await expect.poll(() => answers(replica, model, row)).toBe(champion)
    expect(answers(replica, model, { ...row, color: 'red' })).toBe('unknown_feature')
    expect(answers(replica, model, { ...row, sepalLength: 'long' })).toBe('wrong_type')
    // The disk is written at the next reading of the routes.
    await replica.serving.refresh()
    await replica.stop()
    const away = { databaseUrl: 'postgres://localhost:1/none', stateDir: replica.stateDir, startMs: 1 }
    const alone = await replicaOfTest(fixture, away)
    expect(answers(alone, model, row)).toBe(champion)
  })

  it('is ignored where the file names an entity by it', async () => {
    const model = uniqueName('model')
    const spec = irisSpec(model)
    const champion = await fixture.register(spec)
    const from = { view: 'gardens', by: ['garden', 'bed'] }
    await sync(model, { ...spec.features, age: { kind: 'number', missing: 'fill', from } })
    const replica = await replicaOfTest(fixture)
    await replica.follows(await fixture.route(model, { proven: champion }))
    expect(answers(replica, model, { ...irisRow, garden: 'g1', bed: 2 })).toBe(champion)
  })
})

describe('a release of a version with a renamed feature', () => {
  const setUp = async (feature: Feature) => {
    const model = uniqueName('model')
    const champion = await fixture.register(irisSpec(model))
    const candidate = await fixture.register(renamed(model, 'width', feature), 1)
    const replica = await replicaOfTest(fixture)
    const share = (shareBp: number) => ({
      release: `rel_${model}`,
      proven: champion,
      arms: [
        { arm: 'canary' as const, version: candidate, shareBp },
        { arm: 'champion' as const, version: champion, shareBp: 10_000 - shareBp },
      ],
    })
    return { model, champion, candidate, replica, share }
  }

  it('answers callers that send both names, with either version, and those of the former name after the promotion', async () => {
    const { model, champion, candidate, replica, share } = await setUp({ kind: 'number' })
    const both = { ...irisRow, width: petalWidth! }
    await replica.follows(await fixture.route(model, share(10_000), 600_000))
    expect(answers(replica, model, both)).toBe(candidate)
    expect(answers(replica, model, irisRow)).toBe('missing_feature')
    await replica.follows(await fixture.route(model, share(0), 600_000))
    expect(answers(replica, model, both)).toBe(champion)
    const arms = [{ arm: 'champion' as const, version: candidate, shareBp: 10_000 }]
    await replica.follows(await fixture.route(model, { proven: candidate, arms }))
    expect(answers(replica, model, both)).toBe(candidate)
    expect(answers(replica, model, { ...narrowRow, width: petalWidth! })).toBe(candidate)
  })

  it('answers callers that send the former name only when the new feature may be missing', async () => {
    const { model, candidate, replica, share } = await setUp({ kind: 'number', missing: 'fill' })
    await replica.follows(await fixture.route(model, share(10_000), 600_000))
    expect(answers(replica, model, irisRow)).toBe(candidate)
    const label = (row: FeatureRow) => replica.ask(model, { instances: [row] }).predictions[0]!.probabilities
    expect(label(irisRow)).toEqual(label({ ...narrowRow, width: null }))
  })
})
