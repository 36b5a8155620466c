/** Tests the list and the page of a snapshot that two models have used, for a key of each. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { insertSnapshot, insertValidation } from '../../../../store/training/snapshots.ts'
import { irisSpec } from '../../../support/serving/artifact.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../../support/serving/serving-fixture.ts'

const models = ['amount', 'band'] as const
type Name = (typeof models)[number] | 'both'
const digest = 'sha256:shared'

let servers: ServingFixture
let api: TestApi
const cookies = {} as Record<Name, string>
const browser = { accept: 'text/html', host: 'localhost' }
const get = (path: string, as: Name) =>
  api.request('GET', path, { headers: { ...browser, cookie: cookies[as] } })
const rowsIn = async (path: string, as: Name) =>
  (await get(path, as)).text.split('<tr').filter((each) => each.includes(`title="${digest}"`))

beforeAll(async () => {
  servers = await openServingFixture()
  const { store } = servers
  const names = [...models, 'both'] as const
  const keys = await Promise.all(
    names.map((name) =>
      servers.key({ role: 'viewer', name, ...(name === 'both' ? {} : { models: [name] }) }),
    ),
  )
  api = await startApi(servers)
  for (const [at, name] of names.entries()) {
    const key = keys[at]!
    const signed = await api.request('POST', '/sign-in', {
      body: new URLSearchParams({ key }).toString(),
      headers: { ...browser, 'content-type': 'application/x-www-form-urlencoded' },
    })
    cookies[name] = signed.headers.get('set-cookie')!.split(';')[0]!
  }
  for (const model of models) await servers.register(irisSpec(model))
  const facts = { asOf: '2026-01-01T00:00:00Z', rows: 700, bytes: 1, columns: {}, source: {} }
  await insertSnapshot(store, { ...facts, digest, model: 'amount' })
  const report = { results: [], columns: [] }
  await insertValidation(store, {
    id: 'val_amount',
    model: 'amount',
    snapshotDigest: digest,
    verdict: 'pass',
    report,
  })
  await insertValidation(store, {
    id: 'val_band',
    model: 'band',
    snapshotDigest: digest,
    verdict: 'block',
    report,
  })
  await store.query(
    sql`update versions set lineage = lineage || jsonb_build_object('snapshot', ${digest}::text)`,
  )
})
afterAll(async () => {
  await api.stop()
  await servers.close()
})

it('lists it once for each model, with the verdict and the versions of that model', async () => {
  const [first, second, ...more] = await rowsIn('/data', 'both')
  expect(more).toEqual([])
  expect(first).toMatch(/>amount<.*>pass<.*models\/amount\/versions\/amount_v1\.0\.0">v1\.0\.0</s)
  expect(second).toMatch(/>band<.*>block<.*models\/band\/versions\/band_v1\.0\.0">v1\.0\.0</s)
  expect(first).not.toContain('band')
  expect(second).not.toContain('amount')
  expect(await rowsIn('/data?model=band', 'both')).toHaveLength(1)
})

it.each([
  ['amount', 'pass', 'band'],
  ['band', 'block', 'amount'],
] as const)('shows it to a key of %s as this model has used it', async (model, verdict, other) => {
  const [row, ...more] = await rowsIn('/data', model)
  expect(more).toEqual([])
  const path = /href="(\/data\/[^"]+)"/.exec(row!)![1]!
  for (const each of [path, `/data/${encodeURIComponent(digest)}`]) {
    const { status, text } = await get(each, model)
    expect([each, status]).toEqual([each, 200])
    expect(text).toContain(`>${verdict}<`)
    expect(text).not.toContain(other)
  }
  expect((await get(`/data/${encodeURIComponent(digest)}?model=${other}`, model)).status).toBe(404)
})

it('links the other models on its page', async () => {
  const { text } = await get(`/data/${encodeURIComponent(digest)}`, 'both')
  expect(text).toMatch(/Also used by<.*<a href="\/data\/[^"]+\?model=band">band<\/a>/s)
})
