/** Tests that an exported predictor counts as a replica does, and that a server takes its counts once, and only in the profile's bins. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import sql from 'sql-template-tag'
import { listAudit } from '../../../store/audit/audit-log.ts'
import { findWindow, writeFeatureCounts } from '../../../store/serving/feature-counts.ts'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { createEdgeCounters } from '../../../cli/export/edge/counters.ts'
import { exportVersion } from '../../../cli/export/write.ts'
import type { FeatureRow } from '../../../domain/model/features.ts'
import {
  categoryProfile,
  defaultCountMs,
  numberProfile,
  sentWithinMs,
  type ReferenceProfile,
} from '../../../domain/model/reference-profile.ts'
import { flightSpec, irisSpec, putArtifact, type ArtifactSpec } from '../../support/serving/artifact.ts'
import {
  openServingFixture,
  startApi,
  startReplica,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'
import { listenFor } from '../../support/serving/api-address.ts'
import { signatureOf } from '../../support/serving/sign-versions.ts'

interface Counting {
  predict(rows: FeatureRow[]): unknown[]
  sendCounts(server: string, key: string): Promise<number>
}

const tenths = Array.from({ length: 100 }, (_, i) => i / 10)
const texts = ['ATL', 'ATL', 'ORD', null]
const cases: Record<string, { spec: ArtifactSpec; profile: ReferenceProfile; rows: FeatureRow[] }> = {
  iris: {
    spec: irisSpec('iris'),
    profile: {
      rows: 100,
      features: ['sepalLength', 'petalWidth'].map((name) => numberProfile(name, tenths)),
      score: categoryProfile('score', ['setosa', 'versicolor', 'virginica']),
    },
    // Edges of the profile, which are compared with 32 bits.
    rows: [0.99, 2.97, 5, 9.9].map((sepalLength) => ({
      sepalLength,
      sepalWidth: 1,
      petalLength: 9 - sepalLength,
      petalWidth: sepalLength / 3,
    })),
  },
  flight: {
    spec: flightSpec('flight'),
    profile: {
      rows: 100,
      features: [numberProfile('distance', tenths), categoryProfile('origin', texts)],
      score: numberProfile(
        'score',
        tenths.map((each) => each / 10),
      ),
    },
    rows: [null, 0, 3, 1e6].flatMap((distance) =>
      ['ATL', 'ORD', 'XNA', '__proto__'].map((origin) => ({ distance, hour: 3, origin, day: null })),
    ),
  },
}

let fixture: ServingFixture
let api: TestApi
let key: string
let petra: string
let root: string
let server: Awaited<ReturnType<typeof listenFor>>
let url: string
const folderOf = (model: string) => join(root, model)
const load = async (folder: string) => {
  const { loadPredictor } = (await import(pathToFileURL(join(folder, 'predictor.js')).href)) as {
    loadPredictor: () => Promise<Counting>
  }
  return loadPredictor()
}
const versions: Record<string, string> = {}
const exported = (model: string, folder: string, digest: string, counters: boolean) =>
  exportVersion({
    version: versions[model]!,
    digest,
    artifactRoot: fixture.artifactRoot,
    folder,
    counters,
  })

beforeAll(async () => {
  fixture = await openServingFixture()
  root = mkdtempSync(join(tmpdir(), 'tenure-edge-counts-'))
  key = await fixture.key()
  petra = await fixture.key({ role: 'predictor' })
  for (const [model, { spec, profile }] of Object.entries(cases)) {
    const version = (versions[model] = await fixture.register(spec))
    const artifactDigest = await putArtifact(fixture.artifactRoot, spec, (manifest) => ({
      ...manifest,
      profile,
    }))
    const signature = await signatureOf(fixture.artifactRoot, { version, model, artifactDigest })
    await fixture.store.query(sql`
      update versions set artifact_digest = ${artifactDigest}, signature = ${signature},
        manifest = manifest || ${JSON.stringify({ profile })}::jsonb
      where version = ${version}`)
    await fixture.route(model, { proven: version })
    await exported(model, folderOf(model), artifactDigest, true)
  }
  api = await startApi(fixture)
  server = await listenFor(api)
  url = server.url
})
afterAll(async () => {
  server.close()
  await api.stop()
  await fixture.close()
  rmSync(root, { recursive: true, force: true })
})

/** The counts of replicas or of exports, by kind and name. */
const countsOf = async (model: string, isExport: boolean) =>
  fixture.store.query(sql`
    select kind, name, sum(count) as count, place from feature_counts, unnest(counts) with ordinality as each (count, place)
    where model = ${model} and kind <> 'range' and starts_with(replica_id, 'export:') = ${isExport}
    group by kind, name, place order by kind, name, place`)

it.each(Object.keys(cases))('an export of %s counts as a replica does', async (model) => {
  const { rows } = cases[model]!
  const replica = await startReplica(fixture)
  await replica.follows({ model, generation: 1 })
  replica.ask(model, { instances: rows })
  await replica.stop()

  const predictor = await load(folderOf(model))
  predictor.predict(rows.slice(0, 2))
  expect(await predictor.sendCounts(url, key)).toBe(1)
  predictor.predict(rows.slice(2))
  expect(() => predictor.predict([{ ...rows[0]!, more: 1 }])).toThrow()
  for (const _ of ['first', 'again']) await predictor.sendCounts(url, key)

  const counted = await countsOf(model, true)
  expect(counted).toEqual(await countsOf(model, false))
  expect(new Set(counted.map(({ name }) => name as string)).size).toBe(3)
})

it('an exported predictor sends what was counted while it sent, and no period that a server takes no more', () => {
  vi.useFakeTimers({ toFake: ['Date'], now: 10 * defaultCountMs - 2 })
  onTestFinished(() => void vi.useRealTimers())
  const counters = createEdgeCounters({ features: [numberProfile('size', [1, 2])], scores: [] }, () => 0)
  const add = () => counters.count({ size: 1 }, new Float32Array())
  const sums = () =>
    counters
      .spans(Date.now())
      .map(({ features }) => (features['size'] ?? []).reduce((sum, count) => sum + count, 0))
  add()
  const readMs = Date.now()
  const sent = counters.spans(readMs)
  vi.advanceTimersByTime(1)
  add()
  vi.advanceTimersByTime(1)
  counters.markSent(sent, readMs)
  add()
  expect(sums()).toEqual([2, 1])
  counters.markSent(counters.spans(Date.now()), Date.now())
  expect(sums()).toEqual([1])
  vi.advanceTimersByTime(sentWithinMs + 1)
  expect(sums()).toEqual([])
})

describe('counts that a server refuses', () => {
  const sender = '6e0a3c8e-6f0e-4b43-9d1c-0c8a5a9f1f10'
  const startMs = Math.floor(Date.now() / defaultCountMs) * defaultCountMs
  const span = (atMs = startMs, features = {}, scores = {}) => ({
    at: new Date(atMs).toISOString(),
    features,
    scores,
  })
  const send = (counts: unknown[], body = {}, model = 'iris') =>
    api.request('POST', `/v1/models/${model}/feature-counts`, {
      key,
      body: { version: versions['iris'], sender, counts, ...body },
    })

  it.each<[string, () => ReturnType<typeof send>, RegExp]>([
    [
      'a period of another length',
      () => send([span(startMs + 60_000)]),
      /not the start of a period of 60 min/,
    ],
    ['a period twice', () => send([span(), span()]), /counts\.1\.at: is the period of an earlier item/],
    ['a later period', () => send([span(startMs + 2 * defaultCountMs)]), /future by the clock/],
    ['an old period', () => send([span(startMs - 200 * defaultCountMs)]), /more than 7 days ago/],
    [
      'another feature',
      () => send([span(startMs, { wide: [1] })]),
      /features\.wide: is not in the training profile/,
    ],
    [
      'another score',
      () => send([span(startMs, {}, { sepalLength: [1] })]),
      /scores\.sepalLength: is not in/,
    ],
    [
      'other bins',
      () => send([span(startMs, { sepalLength: [1, 2] })]),
      /has 2 bins, the training profile has 11/,
    ],
    [
      'a negative count',
      () => send([span(startMs, { sepalLength: [-1] })]),
      /counts\.0\.features\.sepalLength/,
    ],
    [
      'another model’s version',
      () => send([span()], { version: versions['flight'] }),
      /is a version of flight/,
    ],
    ['a version without a profile', bareVersion, /has no training profile/],
    [
      'more rows than the exports of a key may count',
      () =>
        send([
          span(startMs, { sepalLength: [Number.MAX_SAFE_INTEGER, ...Array.from({ length: 10 }, () => 0)] }),
        ]),
      /the exports of one key count at most 3600000 rows in 60 min/,
    ],
    [
      'more rows by another sender of the key',
      async () => {
        const half = { sepalLength: [2_000_000, ...Array.from({ length: 10 }, () => 0)] }
        const first = await send([span(startMs, half)], { sender: '6e0a3c8e-6f0e-4b43-9d1c-0c8a5a9f1f11' })
        expect(first.status).toBe(200)
        return send([span(startMs, half)])
      },
      /the exports of one key count at most/,
    ],
    [
      'a version that was never released, for a key of predictions',
      async () => {
        return api.request('POST', '/v1/models/iris/feature-counts', {
          key: petra,
          body: { version: versions['iris'], sender, counts: [span()] },
        })
      },
      /was not released, so it answers no predictor/,
    ],
  ])('%s', async (_what, ask, pattern) => {
    const { status, json } = await ask()
    expect([400, 404]).toContain(status)
    expect(JSON.stringify(json)).toMatch(pattern)
  })

  async function bareVersion() {
    const version = await fixture.register(irisSpec('bare', 3))
    return send([span()], { version }, 'bare')
  }
})

it('an export without counters, or with a server that does not answer, says so and loses nothing', async () => {
  const predictor = await load(folderOf('flight'))
  predictor.predict(cases['flight']!.rows)
  await expect(predictor.sendCounts('http://127.0.0.1:1', key)).rejects.toMatchObject({ code: 'unreachable' })
  expect(await predictor.sendCounts(url, key)).toBe(1)

  const [row] = await fixture.store.query<{ artifact_digest: string }>(sql`
    select artifact_digest from versions where version = ${versions['iris']!}`)
  const bare = join(root, 'bare')
  await exported('iris', bare, row!.artifact_digest, false)
  await expect((await load(bare)).sendCounts(url, key)).rejects.toMatchObject({ code: 'usage' })

  const digest = await putArtifact(fixture.artifactRoot, irisSpec('iris'))
  await expect(exported('iris', join(root, 'without'), digest, true)).rejects.toMatchObject({
    problem: { detail: expect.stringContaining('has no training profile') },
  })
})

it('what a key claims for exports judges nothing where replicas have counted, is shown apart, and is audited', async () => {
  const version = versions['iris']!
  const hourMs = Math.floor(Date.now() / defaultCountMs) * defaultCountMs - 3 * defaultCountMs
  const bins = (first: number) => [first, ...Array.from({ length: 10 }, () => 0)]
  const at = new Date(hourMs).toISOString()
  const sent = await api.request('POST', '/v1/models/iris/feature-counts', {
    key,
    body: {
      version,
      sender: '6e0a3c8e-6f0e-4b43-9d1c-0c8a5a9f1f12',
      counts: [{ at, features: { sepalLength: bins(1_000_000) }, scores: {} }],
    },
  })
  expect(sent.status).toBe(200)
  const span = { model: 'iris', version, fromMs: hourMs, toMs: hourMs + defaultCountMs }
  expect(await findWindow(fixture.store, span)).toMatchObject({
    isExported: true,
    features: { sepalLength: bins(1_000_000) },
  })
  const rows = [
    { model: 'iris', version, hourMs, kind: 'feature' as const, name: 'sepalLength', counts: bins(7) },
  ]
  await writeFeatureCounts(fixture.store, { replica: 'a replica', rows })
  expect(await findWindow(fixture.store, span)).toEqual({ features: { sepalLength: bins(7) } })
  const shown = (await api.request('GET', `/v1/models/iris/feature-counts?version=${version}`, { key }))
    .json as {
    counts: object[]
    exported: object[]
  }
  expect(shown.counts).toContainEqual({ at, features: { sepalLength: bins(7) } })
  expect(shown.exported).toContainEqual({ at, features: { sepalLength: bins(1_000_000) } })
  expect(await listAudit(fixture.store, { action: 'counts.sent', subject: version, limit: 1 })).toHaveLength(
    1,
  )
})
