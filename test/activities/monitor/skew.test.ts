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
import { flightSpec, irisSpec, type ArtifactSpec } from '../../support/serving/artifact.ts'
import {
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
    const { output, preprocessing } = each
    await fixture.store.query(
      sql`update versions set manifest = ${JSON.stringify({ output, preprocessing })} where version = ${version}`,
    )
    return version
  }
  for (const each of [spec, far, irisSpec()]) {
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
  expect(await runServingChild([], { script, timeoutMs: 20_000, input: 'x'.repeat(4_000_000) })).toEqual({
    heard: 0,
  })
})
