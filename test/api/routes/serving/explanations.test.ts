/** Tests explanations of predictions through the API: the method of each format, and refusals. */
import sql, { raw } from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ExplainedPredictions } from '../../../../domain/explanation/explained-predictions.ts'
import { explainLimits } from '../../../../api/services/explanation/explain-predictions.ts'
import { openArtifacts, putManifest } from '../../../../store/artifacts.ts'
import { moveChampion } from '../../../../store/registry/champions.ts'
import { treeVersion, type TreeVersion } from '../../../support/formats/tree-version.ts'
import { irisRow, irisSpec } from '../../../support/serving/artifact.ts'
import { registerDigest } from '../../../support/serving/registration.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let api: TestApi
let key: string
let elsewhere: string
let vera: string
let trees: TreeVersion
const spec = irisSpec('iris')

beforeAll(async () => {
  fixture = await openServingFixture()
  const champion = await fixture.register(spec)
  await fixture.store.transaction((database) =>
    moveChampion(database, {
      model: 'iris',
      to: champion,
      cause: 'promotion',
      actor: 'anna',
      reason: 'first',
    }),
  )
  trees = await treeVersion('lightgbm-classes-0')
  const artifacts = openArtifacts(fixture.artifactRoot)
  const files = Object.fromEntries(
    await Promise.all(
      Object.entries(trees.files).map(
        async ([name, bytes]) => [name, await artifacts.put('artifacts', bytes)] as const,
      ),
    ),
  )
  const digest = await putManifest(artifacts, { ...trees.manifest, files })
  const { features, output } = trees.manifest
  await registerDigest(fixture.store, fixture.artifactRoot, { model: 'trees', features, output, digest })
  key = await fixture.key({ role: 'predictor' })
  vera = await fixture.key({ role: 'viewer' })
  elsewhere = await fixture.key({ role: 'admin', models: ['other'] })
  api = await startApi(fixture)
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
})

const explain = (model: string, body: object, as = model === 'trees' ? vera : key) =>
  api.request('POST', `/v1/models/${model}/explain`, { key: as, body })
const explained = async (model: string, body: object): Promise<ExplainedPredictions> => {
  const { status, json } = await explain(model, body)
  expect(status, JSON.stringify(json)).toBe(200)
  return json as unknown as ExplainedPredictions
}
const sumOf = ({ base, attributions }: ExplainedPredictions['explanations'][0]) =>
  attributions.reduce((sum, { attribution }) => sum + attribution, base)

describe('an explanation', () => {
  it('of a network is sampled, sums to the answer, and has an interval for each feature', async () => {
    const found = await explained('iris', { instances: [irisRow, { ...irisRow, petalLength: 6 }] })
    expect(found).toMatchObject({
      model: 'iris',
      version: 'iris_v1.0.0',
      method: 'sampled',
      scale: 'answer',
      background: { rows: spec.golden.length, from: 'golden rows' },
    })
    expect(found.explanations).toHaveLength(2)
    for (const each of found.explanations) {
      expect(each.score).toBeCloseTo(each.answer, 6)
      expect(sumOf(each)).toBeCloseTo(each.score, 6)
      expect(each.attributions.map(({ feature }) => feature).toSorted()).toEqual(
        Object.keys(irisRow).toSorted(),
      )
      expect(each.attributions.every(({ error }) => error !== undefined && error >= 0)).toBe(true)
      const sizes = each.attributions.map(({ attribution }) => Math.abs(attribution))
      expect(sizes).toEqual(sizes.toSorted((a, b) => b - a))
    }
  })

  it('of trees is exact on the sum before the link function, for the requested class', async () => {
    const version = 'trees@latest'
    const found = await explained('trees', { instances: [trees.rows[9]!], version, of: 'class 2' })
    expect(found).toMatchObject({ version: 'trees_v1.0.0', method: 'tree_shap', scale: 'raw' })
    const [each] = found.explanations
    expect(each).toMatchObject({ of: 'class 2' })
    expect(each!.answer).toBeCloseTo(trees.answers[9]![2]!, 5)
    expect(sumOf(each!)).toBeCloseTo(each!.score, 9)
    expect(each!.attributions.some(({ error }) => error !== undefined)).toBe(false)
  })

  it('ignores a field of another version, as predictions do', async () => {
    await fixture.store.query(
      sql`insert into models (name, definition, code_digest)
        values ('iris', ${JSON.stringify({ features: { ...spec.features, size: { kind: 'number' } } })}, 'sha256:0')
        on conflict (name) do update set definition = excluded.definition, synced_at = now()`,
    )
    const row = { ...irisRow, size: 3 }
    await expect.poll(() => explain('iris', { instances: [row] }).then(({ status }) => status)).toBe(200)
    const found = await explained('iris', { instances: [row], background: [row] })
    expect(found.explanations[0]!.attributions.map(({ feature }) => feature)).not.toContain('size')
  })

  it('uses background rows of the request', async () => {
    const found = await explained('iris', { instances: [irisRow], background: [irisRow] })
    expect(found.background).toEqual({ rows: 1, from: 'request' })
    expect(found.explanations[0]!.base).toBeCloseTo(found.explanations[0]!.answer, 6)
    expect(found.explanations[0]!.attributions.every(({ attribution }) => Math.abs(attribution) < 1e-6)).toBe(
      true,
    )
  })

  it.each<[string, string, object, number, string]>([
    ['no rows', 'iris', { instances: [] }, 422, 'no_instances'],
    [
      'too many rows',
      'iris',
      { instances: Array.from({ length: 11 }, () => irisRow) },
      413,
      'batch_too_large',
    ],
    [
      'too many background rows',
      'iris',
      { instances: [irisRow], background: Array.from({ length: 101 }, () => irisRow) },
      413,
      'batch_too_large',
    ],
    ['a missing feature', 'iris', { instances: [{ sepalLength: 1 }] }, 422, 'missing_feature'],
    ['an unknown feature', 'iris', { instances: [{ ...irisRow, colour: 'red' }] }, 422, 'unknown_feature'],
    [
      'a wrong type',
      'iris',
      { instances: [irisRow], background: [{ ...irisRow, petalWidth: 'wide' }] },
      422,
      'wrong_type',
    ],
    ['another class', 'iris', { instances: [irisRow], of: 'rose' }, 400, 'invalid_request'],
    ['another field', 'iris', { instances: [irisRow], samples: 3 }, 400, 'invalid_request'],
    [
      'a version of another model',
      'iris',
      { instances: [irisRow], version: 'trees@latest' },
      404,
      'version_not_found',
    ],
    ['no champion', 'trees', { instances: [{}] }, 404, 'version_not_found'],
    ['an unknown model', 'roses', { instances: [irisRow] }, 404, 'model_not_found'],
  ])('is refused for %s', async (_what, model, body, status, code) => {
    const refused = await explain(model, body)
    expect([refused.status, refused.json]).toEqual([status, expect.objectContaining({ code }) as unknown])
  })

  it('is refused to a predictor for a version that was never released or was rolled back, and not to people', async () => {
    const body = { instances: [trees.rows[9]!], version: 'trees_v1.0.0' }
    const mark = (column: 'known_good_at' | 'rolled_back_at') =>
      fixture.store.query(sql`update versions set ${raw(column)} = now() where version = 'trees_v1.0.0'`)
    const asked = async () => {
      const { status, json } = await explain('trees', body, key)
      return [status, json['detail'] ?? '']
    }
    expect(await asked()).toEqual([404, 'trees_v1.0.0 was not released, so it answers no predictor'])
    await mark('known_good_at')
    expect(await asked()).toEqual([200, ''])
    await mark('rolled_back_at')
    expect(await asked()).toEqual([404, 'trees_v1.0.0 was rolled back, so it answers no predictor'])
    expect((await explain('trees', body)).status).toBe(200)
  })

  it('is refused to a key of another model', async () =>
    expect((await explain('iris', { instances: [irisRow] }, elsewhere)).status).toBe(403))

  it('is refused while a replica computes its maximum number of explanations', async () => {
    const asked = Array.from({ length: explainLimits.maxConcurrent + 2 }, () =>
      explain('iris', { instances: [irisRow] }),
    )
    const statuses = (await Promise.all(asked)).map(({ status }) => status)
    expect(statuses).toContain(503)
    expect(statuses.filter((status) => status === 200).length).toBeLessThanOrEqual(
      explainLimits.maxConcurrent,
    )
    expect((await explain('iris', { instances: [irisRow] })).status).toBe(200)
  })

  it('that takes too long is ended', async () => {
    const { explainMs } = explainLimits
    explainLimits.explainMs = 1
    try {
      const late = await explain('iris', { instances: [irisRow] })
      expect([late.status, late.json]).toEqual([
        504,
        expect.objectContaining({ code: 'deadline_exceeded' }) as unknown,
      ])
    } finally {
      explainLimits.explainMs = explainMs
    }
  })
})
