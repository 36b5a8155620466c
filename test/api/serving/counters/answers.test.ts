/**
 * Tests on a replica and a database what a shadow detects before the first outcome: a number that is off by a factor of ten, and decisions
 * that flip in one slice.
 */
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { judge } from '../../../../domain/release/judge-stage.ts'
import { createObserver } from '../../../../activities/release/observe.ts'
import { defaultCanaryPolicy } from '../../../../domain/canary/policy.ts'
import { numberProfile } from '../../../../domain/model/reference-profile.ts'
import type { ReleaseState } from '../../../../domain/release/state.ts'
import { findTicks } from '../../../../store/release/evidence.ts'
import { routedShadow } from '../../../support/release/releases.ts'
import { artifactManifest, putArtifact, type ArtifactSpec } from '../../../support/serving/artifact.ts'
import { registerDigest } from '../../../support/serving/registration.ts'
import {
  openServingFixture,
  startReplica,
  until,
  type ServingFixture,
  type TestReplica,
} from '../../../support/serving/serving-fixture.ts'
import { uniqueName } from '../../../support/servers/servers.ts'

let fixture: ServingFixture
let replica: TestReplica | undefined
beforeAll(async () => {
  fixture = await openServingFixture()
})
afterEach(() => replica?.stop())
afterAll(() => fixture.close())

const features = { x: { kind: 'number' }, hour: { kind: 'number' } } as const
const preprocessing = Object.keys(features).map((name) => ({
  name,
  kind: 'number' as const,
  mean: 0,
  std: 1,
  fill: 0,
}))
const golden = [
  { x: 1, hour: 3 },
  { x: -2, hour: 20 },
]

/** Describes a version that answers `factor`·x + 100. */
const numberSpec = (model: string, factor: number): ArtifactSpec => ({
  model,
  features,
  output: { kind: 'number' },
  preprocessing,
  layers: [{ units: 1, activation: 'linear', kernel: [10 * factor, 0], bias: [100 * factor] }],
  golden,
})
/** Describes a version with two outputs. The first is always right; the second is a thousand times as large. */
const numbersSpec = (model: string, factor: number): ArtifactSpec => ({
  ...numberSpec(model, 1),
  output: { kind: 'numbers', names: ['far', 'near'] },
  layers: [
    {
      units: 2,
      activation: 'linear',
      kernel: [10_000, 10 * factor, 0, 0],
      bias: [100_000, 100 * factor],
    },
  ],
})
/** Describes a version that answers yes for a positive x; in the evening only when `evening` is 0. */
const decisionSpec = (model: string, evening: number): ArtifactSpec => ({
  model,
  features,
  output: { kind: 'probability', positive: 'yes', threshold: 0.5 },
  preprocessing,
  layers: [
    { units: 3, activation: 'relu', kernel: [1, -1, 0, 0, 0, 1], bias: [0, 0, -17.5] },
    { units: 1, activation: 'sigmoid', kernel: [10, -10, evening], bias: [0] },
  ],
  golden,
})

/** Registers both versions as training would, with a score profile. */
async function registered(specs: readonly ArtifactSpec[]): Promise<string[]> {
  const evenProfile = (name: string, scale = 1) =>
    numberProfile(
      name,
      Array.from({ length: 101 }, (_, i) => scale * (90 + i / 5)),
    )
  const answers =
    specs[0]!.output.kind === 'numbers'
      ? { scores: [evenProfile('far', 1_000), evenProfile('near')] }
      : { score: evenProfile('score') }
  const profile = { rows: 101, features: [], ...answers }
  const names = []
  for (const [minor, spec] of specs.entries()) {
    const digest = await putArtifact(fixture.artifactRoot, spec, (manifest) => ({ ...manifest, profile }))
    const version = await registerDigest(fixture.store, fixture.artifactRoot, { ...spec, digest }, minor)
    const manifest = { ...artifactManifest(spec, {} as never), profile }
    await fixture.store.query(sql`
      update versions set manifest = ${JSON.stringify(manifest)} where version = ${version}`)
    names.push(version)
  }
  return names
}

async function shadowed(model: string, specs: readonly ArtifactSpec[]): Promise<ReleaseState> {
  const [baseline, version] = (await registered(specs)) as [string, string]
  replica = await startReplica(fixture)
  const release = `rel_${model}` as const
  const route = await fixture.route(
    model,
    { proven: baseline, release, tickMs: 50, shadow: { version, shareBp: 10_000 } },
    60_000,
  )
  await replica.follows(route)
  const limits = { ...defaultCanaryPolicy, slowRatio: 1e6, promotion: 'off' } as const
  return {
    ...routedShadow,
    id: release,
    model,
    version,
    baseline,
    policy: { ...routedShadow.policy, limits },
    routings: [
      { stage: 'shadow', stageIndex: 0, generation: route.generation, shareBp: 10_000, startedMs: 0 },
    ],
  }
}

/** Sends requests of new users. A copy must not wait for all requests, because the judge compares answers of the same time. */
async function ask(state: ReleaseState, count: number): Promise<void> {
  const { serving } = replica!
  for (let i = 0; i < count; i++) {
    const row = { x: (i % 21) - 10, hour: i % 24 }
    replica!.ask(state.model, { instances: [row], routing_key: `user ${i}` })
    if (i % 5 === 4) await until(() => serving.shadow.counts().answered === i + 1, 'the copies')
  }
  await until(async () => {
    const ticks = await findTicks(fixture.store, state.id)
    return ticks.reduce((sum, { requests }) => sum + requests, 0) >= 2 * count
  }, 'the counts')
}

it('a number that is off by a factor of ten is reported in the shadow', async () => {
  const model = uniqueName('model')
  const state = await shadowed(model, [numberSpec(model, 1), numberSpec(model, 10)])
  await ask(state, 800)
  const observed = await createObserver({ store: fixture.store }, state)()
  // Pairs of more than a second ago are compared too, so a slow machine would ask about them.
  const observation = { ...observed, disagreement: undefined, watchedMs: 1_000 }
  const { verdict, inputs } = judge(state, observation)
  expect([verdict.kind, verdict.reasons.at(-1)!.code]).toEqual(['pass', 'score_shift'])
  expect(inputs['answers']).toMatchObject({ names: ['below 92', 'from 92', 'from 100', 'from 108'] })
})

it('the second of two numbers, off by a factor, holds the shadow for an approver, and differs in units of its own range', async () => {
  const model = uniqueName('model')
  const state = await shadowed(model, [numbersSpec(model, 1), numbersSpec(model, 10)])
  await ask(state, 800)
  const pairs = () => fixture.store.query(sql`select 1 from shadow_pairs where release_id = ${state.id}`)
  await until(async () => (await pairs()).length === 800, 'the pairs')
  await fixture.store.query(
    sql`update shadow_pairs set at = at - interval '2 s' where release_id = ${state.id}`,
  )
  const observation = { ...(await createObserver({ store: fixture.store }, state)(true)), watchedMs: 1_000 }
  const { verdict, inputs } = judge(state, observation)
  expect(verdict).toMatchObject({ kind: 'inconclusive', questions: ['disagreement'] })
  expect(inputs['answers']).toMatchObject({
    names: ['far', 'near'].flatMap((name) =>
      ['below 92', 'from 92', 'from 100', 'from 108'].map(
        (range) => `${name} ${name === 'far' ? `${range}000` : range}`,
      ),
    ),
    perKey: 2,
  })
  // In nearly every request one of the two numbers is off by more than its range.
  const { distances } = observation.disagreement!.all
  const mean = distances.reduce((sum, count, step) => sum + count * step, 0) / 800 / (distances.length - 1)
  expect(mean).toBeGreaterThan(0.4)
  expect(mean).toBeLessThanOrEqual(0.5)
})

it('a number that the candidate does not answer is left out, and the other is compared by its name', async () => {
  const model = uniqueName('model')
  const candidate = (factor: number): ArtifactSpec => ({
    ...numbersSpec(model, 1),
    output: { kind: 'numbers', names: ['more', 'near', 'other'] },
    layers: [
      {
        units: 3,
        activation: 'linear',
        kernel: [1, 10 * factor, 1, 0, 0, 0],
        bias: [0, 100 * factor, 0],
      },
    ],
  })
  const state = await shadowed(model, [numbersSpec(model, 1), candidate(10)])
  await ask(state, 800)
  const pairs = () => fixture.store.query(sql`select 1 from shadow_pairs where release_id = ${state.id}`)
  await until(async () => (await pairs()).length === 800, 'the pairs')
  await fixture.store.query(
    sql`update shadow_pairs set at = at - interval '2 s' where release_id = ${state.id}`,
  )
  const observation = { ...(await createObserver({ store: fixture.store }, state)(true)), watchedMs: 1_000 }
  const { verdict, inputs } = judge(state, observation)
  expect(verdict).toMatchObject({ kind: 'inconclusive', questions: ['disagreement'] })
  expect(inputs['answers']).toMatchObject({
    names: ['below 92', 'from 92', 'from 100', 'from 108'].map((range) => `near ${range}`),
    perKey: undefined,
  })
  const { distances } = observation.disagreement!.all
  const mean = distances.reduce((sum, count, step) => sum + count * step, 0) / 800 / (distances.length - 1)
  expect(mean).toBeGreaterThan(0.8)
})

it('an equal number is neither rolled back nor held for an approver', async () => {
  const model = uniqueName('model')
  const state = await shadowed(model, [numberSpec(model, 1), numberSpec(model, 1.0001)])
  await ask(state, 200)
  // The requests of one user count once.
  for (let i = 0; i < 300; i++)
    replica!.ask(model, { instances: [{ x: 10, hour: 1 }], routing_key: 'user 20' })
  await until(() => replica!.serving.shadow.counts().answered === 500, 'the copies')
  const own = replica!
  replica = undefined
  await own.stop()
  const observation = { ...(await createObserver({ store: fixture.store }, state)()), watchedMs: 1_000 }
  const { verdict, inputs } = judge(state, observation)
  expect(verdict.questions).toBeUndefined()
  expect(verdict.kind).not.toBe('fail')
  const { canary, control } = inputs['answers'] as Record<'canary' | 'control', number[]>
  const users = (counts: number[]) => counts.reduce((sum, count) => sum + count, 0)
  expect([users(canary), users(control)]).toEqual([200, 200])
})

it('what the gate has seen is read from the evaluation that an approval covers, and from no other', async () => {
  const model = uniqueName('model')
  const state = await shadowed(model, [numberSpec(model, 1), numberSpec(model, 1.1)])
  const answers = { names: ['below 92', 'from 92', 'from 100', 'from 108'], rows: 200 }
  await fixture.store.query(sql`
    update evaluations set report = report || ${JSON.stringify({ answers })}, report_digest = 'approved'
    where id = (select evaluation_id from versions where version = ${state.version})`)
  await ask(state, 10)
  const predictedFor = async (evaluation: string) => {
    const covered = { ...state, digests: { ...state.digests, evaluation } }
    return (await createObserver({ store: fixture.store }, covered)()).predicted
  }
  expect(await predictedFor('approved')).toEqual(answers)
  expect(await predictedFor('another')).toBeUndefined()
})

it('decisions that flip in one slice hold the release, and the slice is named', async () => {
  const model = uniqueName('model')
  const state = await shadowed(model, [decisionSpec(model, 0), decisionSpec(model, -1_000)])
  const slices = [
    { name: 'day', where: 'hour < 18' },
    { name: 'evening', where: 'hour >= 18' },
    { name: 'unknown column', where: 'altitude > 3' },
  ]
  await fixture.store.query(sql`
    update models set definition = definition || ${JSON.stringify({ evaluation: { slices } })} where name = ${model}`)
  await ask(state, 800)
  const pairs = () => fixture.store.query(sql`select 1 from shadow_pairs where release_id = ${state.id}`)
  await until(async () => (await pairs()).length === 800, 'the pairs')
  await until(
    async () =>
      (await fixture.store.query(sql`select 1 from predictions where model = ${model}`)).length === 800,
    'the log',
  )
  // Pairs of the last second may still arrive.
  await fixture.store.query(
    sql`update shadow_pairs set at = at - interval '2 s' where release_id = ${state.id}`,
  )
  const observation = { ...(await createObserver({ store: fixture.store }, state)()), watchedMs: 1_000 }
  const { disagreement } = observation
  expect(disagreement!.slices.map(({ name, distances }) => [name, distances])).toEqual([
    ['day', [602, 0]],
    ['evening', expect.anything()],
  ])
  expect(disagreement!.changes).toEqual([{ from: 'yes', to: 'not yes', count: expect.any(Number) as number }])
  const { verdict, inputs } = judge(state, observation)
  const asked = verdict.reasons.find(({ code }) => code === 'disagreement')
  expect(verdict.kind).not.toBe('fail')
  expect(asked).toMatchObject({ values: { part: 'evening', parts: 1 } })
  expect(inputs['disagreement']).toMatchObject({
    slices: [{ name: 'evening', above: true }, { name: 'day' }],
  })
})
