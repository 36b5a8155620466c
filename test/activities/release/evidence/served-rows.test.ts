/**
 * Tests that the watch of a release compares what a candidate serves with the training path: each fault planted between the judged model
 * and its answers rolls it back by its first rows, and a model that answers otherwise by itself does not.
 */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createObserver } from '../../../../activities/release/observe.ts'
import { servedReader } from '../../../../activities/release/evidence/served-rows.ts'
import type { Deps } from '../../../../activities/deps.ts'
import type { LoadedVersion } from '../../../../api/serving/version/loaded-version.ts'
import { firstServedRows, type ServedRows } from '../../../../domain/monitoring/training-serving-skew.ts'
import { judge } from '../../../../domain/release/judge-stage.ts'
import type { ReleaseState } from '../../../../domain/release/state.ts'
import { openArtifacts } from '../../../../store/artifacts.ts'
import { readConfig } from '../../../../temporal.config.ts'
import { routedCanary, routedShadow } from '../../../support/release/releases.ts'
import {
  artifactManifest,
  randomLayer,
  seeded,
  type ArtifactSpec,
} from '../../../support/serving/artifact.ts'
import {
  openServingFixture,
  startReplica,
  until,
  type ServingFixture,
  type TestReplica,
} from '../../../support/serving/serving-fixture.ts'
import { keyPlacesOf } from '../../../support/serving/sign-versions.ts'
import { uniqueName } from '../../../support/servers/servers.ts'

let fixture: ServingFixture
let replica: TestReplica
let deps: Pick<Deps, 'store' | 'artifacts' | 'config' | 'log'>
const quiet = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
beforeAll(async () => {
  fixture = await openServingFixture()
  replica = await startReplica(fixture)
  const config = {
    ...readConfig({ DATABASE_URL: fixture.databaseUrl, TENURE_BUILD_ID: 'test' }),
    artifactRoot: fixture.artifactRoot,
    signing: keyPlacesOf(fixture.artifactRoot),
  }
  deps = { store: fixture.store, artifacts: openArtifacts(fixture.artifactRoot), config, log: quiet }
})
afterAll(async () => {
  await replica?.stop()
  await fixture?.close()
})

/** The model takes the distance, the temperature, and the origin as ATL, ORD or another. */
const features = {
  distance: { kind: 'number' },
  temperature: { kind: 'number' },
  origin: { kind: 'category' },
} as const
const [distanceAt, temperatureAt, atlantaAt] = [0, 1, 2]
const outputs = {
  number: { kind: 'number' },
  classes: { kind: 'classes', classes: ['early', 'late', 'never'] },
  probability: { kind: 'probability', positive: 'late', threshold: 0.5 },
} as const
const specOf = (model: string, kind: keyof typeof outputs, seed: number): ArtifactSpec => {
  const next = seeded(seed)
  const [width, activation] =
    kind === 'classes'
      ? ([3, 'softmax'] as const)
      : kind === 'number'
        ? ([1, 'linear'] as const)
        : ([1, 'sigmoid'] as const)
  return {
    model,
    features,
    output: outputs[kind] as ArtifactSpec['output'],
    preprocessing: [
      { name: 'distance', kind: 'number', mean: 700, std: 500, fill: 700 },
      { name: 'temperature', kind: 'number', mean: 12, std: 6, fill: 12 },
      { name: 'origin', kind: 'category', vocabulary: ['ATL', 'ORD'] },
    ],
    layers: [randomLayer(5, 8, 'tanh', next), randomLayer(8, width, activation, next)],
    golden: [
      { distance: 300, temperature: 8, origin: 'ORD' },
      { distance: 900, temperature: 20, origin: 'XNA' },
    ],
  }
}

/** A fault of serving: what becomes of the inputs of a row before the model, and of its outputs behind it. */
interface Fault {
  kind: keyof typeof outputs
  inputs?: (row: Float64Array) => void
  outputs?: (row: Float32Array, input: Float64Array) => void
}
const isOfAtlanta = (input: Float64Array): boolean => input[atlantaAt] === 1
const swap = (row: Float64Array | Float32Array, i: number, j: number): void => {
  const kept = row[i]!
  row[i] = row[j]!
  row[j] = kept
}
const scaled = (factor: number) => (row: Float32Array) => void (row[0]! *= factor)
const faults: Record<string, () => Fault> = {
  'an answer times ten': () => ({ kind: 'number', outputs: scaled(10) }),
  'an answer by ten': () => ({ kind: 'number', outputs: scaled(0.1) }),
  'swapped classes': () => ({ kind: 'classes', outputs: (row) => swap(row, 0, 1) }),
  'swapped columns': () => ({ kind: 'probability', inputs: (row) => swap(row, distanceAt, temperatureAt) }),
  'a constant': () => ({ kind: 'probability', outputs: (row) => void row.fill(0.5) }),
  'the looked-up value of the request before': () => {
    let before = 0
    return {
      kind: 'probability',
      inputs(row) {
        const now = row[temperatureAt]!
        row[temperatureAt] = before
        before = now
      },
    }
  },
  'a temperature in Fahrenheit': () => ({
    kind: 'probability',
    inputs: (row) => void (row[temperatureAt] = (1.8 * (6 * row[temperatureAt]! + 12) + 32 - 12) / 6),
  }),
  'a category that is cut off': () => ({
    kind: 'probability',
    inputs(row) {
      if (isOfAtlanta(row)) row.set([0, 0, 1], atlantaAt)
    },
  }),
  'a number that is missing in one slice': () => ({
    kind: 'probability',
    inputs(row) {
      if (isOfAtlanta(row)) row[distanceAt] = 0
    },
  }),
  'answers inverted in one slice': () => ({
    kind: 'probability',
    outputs(row, input) {
      if (isOfAtlanta(input)) row[0] = 1 - row[0]!
    },
  }),
  'answers of two digits': () => ({
    kind: 'probability',
    outputs: (row) => void (row[0] = Math.round(row[0]! * 100) / 100),
  }),
}

function plant(loaded: LoadedVersion, { inputs, outputs: change }: Fault): void {
  const { predictor } = loaded
  loaded.predictor = {
    ...predictor,
    run(input, rows, into, order, texts) {
      const read = input.slice(0, rows * predictor.inputs)
      const rowsOf = (place: number) =>
        read.subarray(place * predictor.inputs, (place + 1) * predictor.inputs)
      for (let row = 0; row < rows; row++) inputs?.(rowsOf(row))
      const running = predictor.run(read, rows, into, order, texts)
      for (let row = 0; row < rows; row++)
        change?.(into.subarray(row * predictor.outputs, (row + 1) * predictor.outputs), rowsOf(row))
      return running
    },
  }
}

type Stage = 'shadow' | 'canary'

/** Routes a champion and a candidate, which is another model with answers of its own, and plants the fault in the candidate. */
async function released(stage: Stage, kind: Fault['kind'], fault?: Fault): Promise<ReleaseState> {
  const model = uniqueName('model')
  const register = async (seed: number, minor: number) => {
    const spec = specOf(model, kind, seed)
    const version = await fixture.register(spec, minor)
    const manifest = artifactManifest(spec, {})
    await fixture.store.query(
      sql`update versions set manifest = ${JSON.stringify(manifest)} where version = ${version}`,
    )
    return version
  }
  const baseline = await register(1, 0)
  const version = await register(2, 1)
  const release = `rel_${model}` as const
  const route = await fixture.route(
    model,
    {
      proven: baseline,
      release,
      tickMs: 50,
      ...(stage === 'shadow'
        ? { shadow: { version, shareBp: 10_000 } }
        : {
            arms: [
              { arm: 'canary' as const, version, shareBp: 5_000 },
              { arm: 'champion' as const, version: baseline, shareBp: 5_000 },
            ],
          }),
    },
    60_000,
  )
  await replica.follows(route)
  const loaded = [...replica.serving.routing.loaded()].find((each) => each.version === version)
  if (fault !== undefined) plant(loaded!, fault)
  return {
    ...(stage === 'shadow' ? routedShadow : routedCanary),
    id: release,
    model,
    version,
    baseline,
    routings: [{ stage, stageIndex: 0, generation: route.generation, shareBp: 5_000, startedMs: 0 }],
  }
}

/** Sends requests of two rows; every third is of Atlanta. Resolves when the rows of the candidate are stored. */
async function ask(state: ReleaseState, stage: Stage, requests: number): Promise<void> {
  const { shadow, log } = replica.serving
  const before = shadow.counts().answered
  for (let i = 0; i < requests; i++) {
    const row = (at: number) => ({
      distance: 100 + 37 * at,
      temperature: (7 * at) % 31,
      origin: at % 3 === 0 ? 'ATL' : 'ORD',
    })
    replica.ask(state.model, { instances: [row(i), row(i + 1)], routing_key: `user ${i}` })
  }
  if (stage === 'canary') {
    await log.flush()
    return until(() => log.counts().waiting === 0, 'the log')
  }
  await until(() => shadow.counts().answered === before + requests, 'the copies')
  await until(() => shadow.pairs.length === 0, 'the pairs')
  // Pairs of the last second may still arrive.
  await fixture.store.query(
    sql`update shadow_pairs set at = at - interval '2 s' where release_id = ${state.id}`,
  )
}

/** What the watch sees, once it waits for no comparison any more. */
async function observed(state: ReleaseState, given = deps) {
  const read = servedReader(given, state)
  let served: ServedRows | undefined
  await until(async () => (served = await read(false)).isUnread === undefined, 'the comparison')
  const observation = await createObserver({ store: fixture.store }, state, undefined, async () => served!)()
  return { read, served: served!, verdict: judge(state, { ...observation, watchedMs: 1_000 }).verdict }
}

describe.each(Object.keys(faults))('%s between the judged model and its answers', (name) => {
  it.each(['shadow', 'canary'] as const)(
    'rolls the candidate back by its first rows in a %s',
    async (stage) => {
      const fault = faults[name]!()
      const state = await released(stage, fault.kind, fault)
      await ask(state, stage, stage === 'shadow' ? 30 : 60)
      const { served, verdict } = await observed(state)
      expect(served.compared).toBeLessThanOrEqual(firstServedRows)
      expect(verdict).toMatchObject({ kind: 'fail', reasons: [{ code: 'serving_skew' }] })
      expect(verdict.reasons[0]!.message).toMatch(
        /^what is served is not what was judged: \d+ of \d+ rows differ from training: score( \d)? in \d+, as in /,
      )
    },
  )
})

it.each(['shadow', 'canary'] as const)(
  'a model that answers otherwise is not rolled back in a %s, and later rows are compared as well',
  async (stage) => {
    const state = await released(stage, 'probability')
    await ask(state, stage, 160)
    const { read, served, verdict } = await observed(state)
    expect(served).toEqual({ compared: firstServedRows, mismatchedRows: 0, columns: [] })
    expect(verdict.kind).not.toBe('fail')
    let later = served
    await until(async () => (later = await read(true)).isUnread === undefined, 'the later rows')
    // The copy of place 100; of the requests of the canary, those with such a hash.
    if (stage === 'shadow') expect(later.compared).toBe(firstServedRows + 1)
    expect(later).toMatchObject({ mismatchedRows: 0 })
    expect(later.problem).toBeUndefined()
  },
)

it('says that a comparison cannot run, rolls nothing back for it, and tries again with fewer rows', async () => {
  const state = await released('shadow', 'probability')
  expect((await observed(state)).served).toEqual({ compared: 0, mismatchedRows: 0, columns: [] })
  await ask(state, 'shadow', 30)
  const sign = (signature: Buffer | null) =>
    fixture.store.query(sql`update versions set signature = ${signature} where version = ${state.version}`)
  const [{ signature }] = (await fixture.store.query<{ signature: Buffer }>(
    sql`select signature from versions where version = ${state.version}`,
  )) as [{ signature: Buffer }]
  await sign(Buffer.from('wrong'))
  const { read, served, verdict } = await observed(state)
  expect(served).toMatchObject({ compared: 0, problem: expect.stringContaining(state.version) as string })
  expect(verdict.kind).not.toBe('fail')
  await sign(signature)
  let later = served
  await until(
    async () => (later = await read(true)).isUnread === undefined && later.compared > 0,
    'a comparison',
  )
  expect(later.compared).toBeLessThanOrEqual(firstServedRows / 4)
  await until(async () => (later = await read(true)).compared === 30, 'all rows')
  expect(later).toEqual({ compared: 30, mismatchedRows: 0, columns: [] })
})
