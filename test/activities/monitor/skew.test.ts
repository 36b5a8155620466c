/** Tests training-serving skew: predictions that a real replica served and logged are repeated from the log. */
import { MockActivityEnvironment } from '@temporalio/testing'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Deps } from '../../../activities/deps.ts'
import { runServingChild } from '../../../activities/runtime/serving-child.ts'
import { checkServingSkew, type SkewInput, type SkewResult } from '../../../activities/monitor/skew.ts'
import { seededRandom } from '@tenure/sequential'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import { readConfig } from '../../../temporal.config.ts'
import {
  flightSpec,
  irisSpec,
  randomLayer,
  seeded,
  type ArtifactSpec,
} from '../../support/serving/artifact.ts'
import type { Feature, Features } from '../../../domain/model/features.ts'
import { unreadFits } from '../../../domain/model/preprocessing.ts'
import {
  askLater,
  openServingFixture,
  startReplica,
  until,
  type ServingFixture,
  type TestReplica,
} from '../../support/serving/serving-fixture.ts'
import { keyPlacesOf, signatureOf } from '../../support/serving/sign-versions.ts'

const hour = 3_600_000
const spec = flightSpec()
/** A number whose fraction the log mostly rounds away. */
const far = {
  ...flightSpec('far', 3),
  golden: spec.golden.map((row) => ({ ...row, distance: row['distance'] === null ? null : 1_000_003 })),
  preprocessing: spec.preprocessing.map((fit) =>
    fit.name === 'distance' && fit.kind === 'number' ? { ...fit, mean: 1e6, std: 5, fill: 1e6 } : fit,
  ),
}
/** One feature is computed from a number that the log rounds, and one from a text. */
const computing: ArtifactSpec = {
  ...spec,
  model: 'computing',
  features: {
    ...spec.features,
    distance: { kind: 'number', missing: 'fill', sql: 'metres / 1000 - 16777' },
    day: { ...spec.features['day']!, sql: `case when code like 'w%' then 'weekend' end` },
    metres: { kind: 'number', missing: 'fill', use: 'prepare' },
    code: { kind: 'category', use: 'prepare' },
  },
}
computing.preprocessing = [...spec.preprocessing, ...unreadFits(computing.features)]
computing.golden = [
  { distance: 3, hour: 8, origin: 'ORD', day: 'weekend', metres: 16_780_000, code: 'we' },
  { distance: null, hour: 20, origin: 'XNA', day: null, metres: null, code: 'é' },
]
/** One column is computed from a text whose value the log does not have, and one from a number. */
const digesting: ArtifactSpec = {
  model: 'digesting',
  features: {
    size: { kind: 'number' },
    note: { kind: 'text', log: 'digest' },
    long: { kind: 'number', sql: 'length(note)' },
    half: { kind: 'number', sql: 'size / 2' },
  },
  output: { kind: 'probability', positive: 'yes', threshold: 0.5 },
  preprocessing: [
    ...['size', 'long', 'half'].map((name) => ({ name, kind: 'number' as const, mean: 0, std: 1, fill: 0 })),
    { name: 'note', kind: 'category', vocabulary: [], encoding: 'text' },
  ],
  layers: [randomLayer(3, 1, 'sigmoid', seeded(3))],
  golden: [{ size: 2, note: 'hip', long: 3, half: 1 }],
}
/** Its model takes the numbers of a vector. */
const scanning: ArtifactSpec = {
  model: 'scanning',
  features: { scan: { kind: 'vector', length: 3 }, size: { kind: 'number' } },
  output: { kind: 'number' },
  preprocessing: [
    { name: 'scan', kind: 'category', vocabulary: [], encoding: 'elements', length: 3 },
    { name: 'size', kind: 'number', mean: 0, std: 1, fill: 0 },
  ],
  layers: [randomLayer(4, 1, 'linear', seeded(4))],
  golden: [{ scan: '[1,2,3]', size: 2 }],
}
const versions: Record<string, string> = {}

let fixture: ServingFixture
let replica: TestReplica
let deps: Deps
const quiet = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
const activity = () => new MockActivityEnvironment({}, { logger: quiet })
beforeAll(async () => {
  fixture = await openServingFixture()
  const routes = []
  const register = async (each: ArtifactSpec, minor?: number) => {
    const version = await fixture.register(each, minor)
    const { output, preprocessing, features } = each
    await fixture.store.query(
      sql`update versions set manifest = ${JSON.stringify({ output, preprocessing, features })} where version = ${version}`,
    )
    return version
  }
  for (const each of [spec, far, irisSpec(), computing, digesting, scanning]) {
    versions[each.model] = await register(each)
    routes.push(await fixture.route(each.model, { proven: versions[each.model]! }))
  }
  versions['other'] = await register(flightSpec('flight', 9), 1)
  replica = await startReplica(fixture)
  for (const route of routes) await replica.follows(route)
  const config = {
    ...readConfig({ DATABASE_URL: fixture.databaseUrl, TENURE_BUILD_ID: 'test' }),
    artifactRoot: fixture.artifactRoot,
    signing: keyPlacesOf(fixture.artifactRoot),
  }
  deps = { store: fixture.store, artifacts: openArtifacts(fixture.artifactRoot), config, log: quiet }
  const chance = seededRandom(5)
  const flightOf = (distance: number) => ({
    distance: chance() < 0.1 ? null : distance,
    hour: 24 * chance(),
    origin: ['ATL', 'ORD', 'größe'][Math.floor(3 * chance())],
    day: [null, 'workday', 'weekend'][Math.floor(3 * chance())],
  })
  const sizes = () => 1 + 6 * chance()
  for (let request = 0; request < 20; request++) {
    replica.ask('flight', { instances: [1, 2, 3].map(() => flightOf(2_000 * chance())) })
    replica.ask('far', { instances: [flightOf(1e6 + 10 * chance())] })
    replica.ask('iris', {
      instances: [{ sepalLength: sizes(), sepalWidth: sizes(), petalLength: sizes(), petalWidth: sizes() }],
    })
  }
  for (let request = 0; request < 20; request++)
    await askLater(replica, 'computing', {
      instances: [
        {
          metres: chance() < 0.1 ? null : 16_777_217 + 1_000 * chance(),
          hour: 24 * chance(),
          origin: 'ORD',
          code: ['we', 'é', 'w'][Math.floor(3 * chance())],
        },
      ],
    })
  for (let size = 0; size < 5; size++)
    await askLater(replica, 'digesting', { instances: [{ size, note: `${size} notes` }] })
  for (let size = 0; size < 5; size++)
    await askLater(replica, 'scanning', {
      instances: [{ size, scan: [0, 1, 2].map((power) => (chance() - 0.5) * 10 ** (4 * power)) }],
    })
  await replica.serving.log.flush()
  await until(async () => replica.serving.log.counts().waiting === 0, 'the log')
})
afterAll(async () => {
  await replica?.stop()
  await fixture?.close()
})

const now = Date.now()
/** Each window is evaluated once, so each question has its own window. */
let windows = 1
const found = (model: string, more: Partial<SkewInput> = {}): Promise<SkewResult> => {
  const input = {
    model,
    version: versions[model]!,
    to: new Date(now + hour).toISOString(),
    windowMs: 2 * hour + windows++,
  }
  return activity().run(checkServingSkew(deps), { ...input, ...more })
}
const openAlerts = (model: string) => listAlerts(fixture.store, { model, open: true })

describe('the training-serving skew check', () => {
  it.each([
    ['flight', 60],
    ['iris', 20],
    ['scanning', 5],
  ])('finds equal predictions for the same rows of %s', async (model, compared) => {
    const result = await found(model)
    expect(result).toMatchObject({ status: 'ok', compared, mismatchedRows: 0, columns: [] })
    const [row] = await fixture.store.query(
      sql`select * from serving_judgements where id = ${result.judgementId}`,
    )
    expect(row).toMatchObject({
      kind: 'skew',
      verdict: 'ok',
      judge: 'skew@1',
      statistic: { compared, notReplayed: 0 },
      inputs: { rows: compared },
      policy: { tolerance: 1e-6 },
    })
    expect(await openAlerts(model)).toEqual([])
  })

  it('tolerates the rounding of the prediction log', async () => {
    expect(await found('far')).toMatchObject({ status: 'ok', compared: 20 })
  })

  it('computes the columns of prepare again, and tolerates the rounding of their fields in the log', async () => {
    expect(await found('computing')).toMatchObject({ status: 'ok', compared: 20, columns: [] })
  })

  it('raises an alert for a computed column that differs from what the SQL of a snapshot gives', async () => {
    const { sql: _, ...distance } = computing.features['distance'] as Feature
    const planted: Features = {
      ...computing.features,
      distance: { ...distance, sql: 'metres / 1000 - 16776.9' } as Feature,
    }
    const change = (features: Features) =>
      fixture.store.query(
        sql`update versions set manifest = manifest || ${JSON.stringify({ features })}::jsonb where version = ${versions['computing']}`,
      )
    await change(planted)
    const result = await found('computing')
    expect(result).toMatchObject({ status: 'skew', columns: [{ name: 'distance of prepare' }] })
    expect(result.columns[0]?.maxDifference).toBeCloseTo(0.1, 2)
    expect(await openAlerts('computing')).toMatchObject([
      { kind: 'serving_skew', message: expect.stringContaining('distance of prepare in ') },
    ])
    await change({ ...computing.features, day: { ...planted['day']!, sql: `'weekend'` } })
    expect(await found('computing')).toMatchObject({ status: 'skew', columns: [{ name: 'day of prepare' }] })
    await change(computing.features)
    expect(await found('computing')).toMatchObject({ status: 'ok' })
    expect(await openAlerts('computing')).toEqual([])
  })

  it('leaves out what needs a feature that is logged as a digest, says so, and compares the rest', async () => {
    const change = (more: Record<string, string>) => {
      const features = structuredClone(digesting.features)
      for (const [name, expression] of Object.entries(more))
        Object.assign(features[name]!, { sql: expression })
      return fixture.store.query(
        sql`update versions set manifest = manifest || ${JSON.stringify({ features })}::jsonb where version = ${versions['digesting']}`,
      )
    }
    const reason = 'not compared: note, long of prepare, score, because `note` is logged as a digest'
    const result = await found('digesting')
    expect(result).toMatchObject({ status: 'ok', compared: 5, columns: [], reason })
    const [row] = await fixture.store.query<{ inputs: unknown }>(
      sql`select inputs from serving_judgements where id = ${result.judgementId}`,
    )
    expect(row!.inputs).toMatchObject({ notCompared: ['note', 'long of prepare', 'score'] })
    await change({ half: 'size / 2 + 1', long: 'length(note) + 1' })
    expect(await found('digesting')).toMatchObject({ status: 'skew', columns: [{ name: 'half of prepare' }] })
    expect(await openAlerts('digesting')).toMatchObject([
      { message: expect.stringMatching(/half of prepare in 5, .*; not compared: note/) },
    ])
    await change({})
    await fixture.store.query(
      sql`update predictions set outputs = array[outputs[1] / 2]::real[] where model = 'digesting'`,
    )
    expect(await found('digesting')).toMatchObject({ status: 'ok', compared: 5 })
    expect(await openAlerts('digesting')).toEqual([])
  })

  it('tolerates what a predictor may differ from the golden rows', async () => {
    const shift = (by: number) =>
      fixture.store.query(
        sql`update predictions set outputs = array(select each + ${by}::real from unnest(outputs) each) where model = 'flight'`,
      )
    await shift(5e-6)
    expect(await found('flight')).toMatchObject({ status: 'ok', compared: 60 })
    await shift(-5e-6)
  })

  it('raises an alert for one different prediction, and resolves it when predictions are equal', async () => {
    const [request] = await fixture.store.query<{ id: string; outputs: number[] }>(
      sql`select id, outputs from predictions where model = 'flight' order by id limit 1`,
    )
    const changed = request!.outputs.map((value, place) => (place === 1 ? value + 2e-5 : value))
    const change = (outputs: number[]) =>
      fixture.store.query(sql`update predictions set outputs = ${outputs} where id = ${request!.id}`)
    await change(changed)
    const result = await found('flight')
    const example = `${request!.id.slice(0, -1)}1`
    expect(result).toMatchObject({
      status: 'skew',
      compared: 60,
      mismatchedRows: 1,
      columns: [{ name: 'score', mismatches: 1, example }],
    })
    expect(result.columns[0]?.maxDifference).toBeCloseTo(2e-5, 6)
    expect(await openAlerts('flight')).toMatchObject([
      {
        kind: 'serving_skew',
        severity: 'critical',
        message: `${versions['flight']}: 1 of 60 rows differ from training: score in 1, as in ${example}`,
      },
    ])
    await change(request!.outputs)
    expect(await found('flight')).toMatchObject({ status: 'ok' })
    expect(await openAlerts('flight')).toEqual([])
  })

  it('reports a prediction that is not a number', async () => {
    await fixture.store.query(
      sql`update predictions set outputs = array['NaN', 0, 0]::real[] where model = 'iris'`,
    )
    expect(await found('iris')).toMatchObject({ status: 'skew', mismatchedRows: 20 })
  })

  it('reports a prediction made by another version', async () => {
    await fixture.store.query(
      sql`update predictions set version = ${versions['other']} where model = 'flight'`,
    )
    const result = await found('flight', { version: versions['other']! })
    expect(result).toMatchObject({ status: 'skew', compared: 60, columns: [{ name: 'score' }] })
    expect(result.mismatchedRows).toBeGreaterThan(50)
  })

  it('compares at most the requested rows, and none without predictions', async () => {
    expect(await found('far', { rows: 7 })).toMatchObject({ compared: 7 })
    expect(await found('far', { to: '2020-01-01T00:00:00Z' })).toMatchObject({
      status: 'no_data',
      compared: 0,
    })
    const { version: _version, ...bare } = {
      version: '',
      model: 'far',
      to: new Date(now).toISOString(),
      windowMs: hour,
    }
    expect(await activity().run(checkServingSkew(deps), bare)).toMatchObject({
      status: 'no_champion',
    })
    for (const wrong of [{ to: 'soon' }, { windowMs: 0 }, { rows: 0 }, { rows: 10_001 }])
      await expect(found('far', wrong)).rejects.toMatchObject({ code: 'invalid_request' })
  })

  it('is skipped when the artifact does not match its signature or cannot be loaded', async () => {
    const artifactDigest = 'sha256:0'
    const version = versions['far']!
    await fixture.store.query(
      sql`update versions set artifact_digest = ${artifactDigest} where version = ${version}`,
    )
    await expect(found('far')).rejects.toMatchObject({ code: 'artifact_untrusted' })
    const signature = await signatureOf(fixture.artifactRoot, { version, model: 'far', artifactDigest })
    await fixture.store.query(sql`update versions set signature = ${signature} where version = ${version}`)
    await expect(found('far')).rejects.toMatchObject({ code: 'artifact_invalid' })
  })
})

it('the result of a child process that reads no input is received', async () => {
  const script = join(fixture.directory(), 'deaf.mjs')
  mkdirSync(join(script, '..'), { recursive: true })
  writeFileSync(script, 'console.log(JSON.stringify({ heard: 0 })); process.exit(0)')
  expect(await runServingChild([], { script, timeoutMs: 60_000, input: 'x'.repeat(4_000_000) })).toEqual({
    heard: 0,
  })
})
