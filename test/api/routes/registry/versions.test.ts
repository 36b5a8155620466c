/** Tests searches of the registry on a real database, page by page, and the refusal of invalid searches. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { moveChampion } from '../../../../store/registry/champions.ts'
import { findVersions } from '../../../../store/registry/versions.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../../support/serving/serving-fixture.ts'

const many = 10_000
/** Versions of the first day, one per minute. */
const day = 1_439
const until = '2026-01-02T00:00:00Z'
let fixture: ServingFixture
let api: TestApi
let key: string
const get = (path: string) => api.request('GET', path, { key })
const search = async (query: Record<string, string>) => get(`/v1/versions?${new URLSearchParams(query)}`)
const namesOf = ({ json }: { json: Record<string, unknown> }) =>
  (json['versions'] as { version: string }[]).map(({ version }) => version)

/** Reads every page to the end. */
async function everyPage(path: string, list: string, query: Record<string, string>) {
  const found: Record<string, unknown>[] = []
  let cursor: string | undefined
  let pages = 0
  do {
    const { status, json } = await get(
      `${path}?${new URLSearchParams({ ...query, ...(cursor === undefined ? {} : { cursor }) })}`,
    )
    expect(status).toBe(200)
    found.push(...(json[list] as Record<string, unknown>[]))
    cursor = json['next_cursor'] as string | undefined
    pages++
  } while (cursor !== undefined)
  return { found, pages }
}

beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key()
  const { store } = fixture
  await store.query(sql`insert into models (name, definition, code_digest)
    select name, '{}', 'c' from unnest(array['big', 'small']) as name`)
  await store.query(sql`insert into snapshots (digest, model, as_of, rows, bytes, columns, source)
    select 'sha256:' || lpad(to_hex(each), 64, '0'), 'big', now(), 2, 10, '{}', '{}' from generate_series(1, 100) as each`)
  await store.query(sql`insert into trainings
      (id, model, snapshot_digest, seed, code_digest, dependencies_digest, hyperparameters, status, curve, epoch, started_at, ended_at, dependencies, build_id)
    select 't' || each, case when each <= 10 then 'small' else 'big' end, 'sha256:' || lpad(to_hex(each % 100 + 1), 64, '0'), each, 'c', 'd',
      jsonb_build_object('units', each), 'done', '[{"epoch":1,"loss":0.5},{"epoch":2,"loss":0.25}]', 2,
      timestamptz '2026-01-01T00:00:00.123456Z' + each * interval '1 minute', timestamptz '2026-01-01T00:00:30.123456Z' + each * interval '1 minute',
      '{"node":"20.20.0"}', 'abc'
    from generate_series(1, ${many}::int) as each`)
  await store.query(sql`insert into evaluations (id, model, training_id, snapshot_digest, artifact_digest, verdict, report, report_digest)
    select 'e' || id, model, id, snapshot_digest, 'a', 'better',
      '{"metrics":[{"metric":"auc","challenger":0.5},{"metric":"f1","challenger":null}]}', 'r' from trainings`)
  // One in seven has no AUC; groups of 8 have equal AUC values to the thousandth.
  await store.query(sql`insert into versions
      (version, model, major, minor, patch, artifact_digest, manifest, evaluation_id, training_id, lineage, created_by, created_at, drill)
    select model || '_v1.' || seed || '.0', model, 1, seed, 0, 'a',
      '{"files":{"model.json":{"digest":"a","bytes":10},"weights.bin":{"digest":"b","bytes":400}}}', 'e' || id, id,
      jsonb_build_object('snapshot', snapshot_digest, 'hyperparameters', hyperparameters, 'reason', case when seed = 77 then '100%_drift' else 'schedule' end,
        'note', case when seed = 78 then 'new sensor in hall 3' end,
        'metrics', case when seed % 7 = 0 then '{"auc":null}' else jsonb_build_object('auc', (seed % 1000) / 1000.0, 'brier', 0.1) end),
      'anna', started_at, seed = 5000
    from trainings`)
  await store.query(
    sql`update versions set known_good_at = now() where version in ('small_v1.1.0', 'small_v1.2.0', 'small_v1.3.0')`,
  )
  await store.query(sql`update versions set rolled_back_at = now() where version = 'small_v1.2.0'`)
  await moveChampion(store, {
    model: 'small',
    to: 'small_v1.3.0',
    cause: 'promotion',
    actor: 'anna',
    reason: 'first',
  })
  await store.query(sql`analyze`)
  api = await startApi(fixture)
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
})

it('a version whose queued release never started says why, in its row, its card and on the page', async () => {
  const [refused, waiting] = ['small_v1.5.0', 'small_v1.6.0']
  const why = 'the release cannot open: the champion has changed'
  for (const [version, state] of [
    [refused, 'refused'],
    [waiting, 'refused'],
    [waiting, 'waiting'],
  ] as const)
    await fixture.store
      .query(sql`insert into release_queue (id, model, version, requested_by, preemption, state, message, until, ended_at)
      values (${`que_${version}_${state}`}, 'small', ${version}, 'anna', 'none', ${state}, ${why}, now() + interval '1 hour',
        ${state === 'waiting' ? null : new Date().toISOString()}::timestamptz)`)
  const { versions } = (await search({ model: 'small' })).json as {
    versions: { version: string; status: string; not_released?: string }[]
  }
  expect(versions.filter((each) => each.not_released !== undefined)).toEqual([
    expect.objectContaining({ version: refused, status: 'registered', not_released: why }),
  ])
  const page = await api.request('GET', '/versions?model=small', { key })
  expect(JSON.stringify(page)).toContain(`Not released: ${why}`)
  for (const [version, reason] of [
    [refused, why],
    [waiting, null],
  ] as const) {
    const one = await get(`/v1/versions/${version}`)
    expect(one.json['not_released'] ?? null).toBe(reason)
    const card = await get(`/v1/versions/${version}/card`)
    expect(card.json).toMatchObject({
      status: 'registered',
      notReleased: reason,
      training: { packages: { node: '20.20.0' } },
    })
  }
})

describe('a search', () => {
  it('finds by model, the highest number first, with status and metrics', async () => {
    const answer = await search({ model: 'small', limit: '2' })
    expect(answer.json).toMatchObject({
      versions: [
        {
          version: 'small_v1.10.0',
          status: 'registered',
          metrics: { auc: 0.01, brier: 0.1 },
          created_by: 'anna',
        },
        { version: 'small_v1.9.0' },
      ],
      next_cursor: expect.any(String),
    })
    expect(answer.text).not.toContain('weights.bin')
  })

  it.each([
    ['champion', ['small_v1.3.0']],
    ['rolled_back', ['small_v1.2.0']],
    ['known_good', ['small_v1.1.0']],
    ['releasing', []],
    ['drill', ['big_v1.5000.0']],
  ])('finds by the status %s', async (status, versions) =>
    expect(namesOf(await search({ status }))).toEqual(versions),
  )

  it('finds by metrics, all of which must hold', async () => {
    expect(namesOf(await search({ metric: 'auc>0.002,auc<=0.004,brier=0.1', model: 'small' }))).toEqual([
      'small_v1.4.0',
      'small_v1.3.0',
    ])
    expect(namesOf(await search({ metric: 'auc<0', model: 'small' }))).toEqual([])
  })

  it('finds by time, data and text', async () => {
    const span = { since: '2026-01-01T00:04:00Z', until: '2026-01-01T00:06:00Z' }
    expect(namesOf(await search(span))).toEqual(['small_v1.5.0', 'small_v1.4.0'])
    expect(namesOf(await search({ since: '2026-01-07T22:39:00Z' }))).toEqual([
      'big_v1.10000.0',
      'big_v1.9999.0',
    ])
    const data = `${'0'.repeat(62)}02`
    expect((await search({ data, model: 'small' })).json).toMatchObject({
      versions: [{ version: 'small_v1.1.0' }],
    })
    // Wildcards of the database are searched literally.
    expect(namesOf(await search({ text: '100%_D' }))).toEqual(['big_v1.77.0'])
    expect(namesOf(await search({ text: 'SENSOR in hall' }))).toEqual(['big_v1.78.0'])
    expect(namesOf(await search({ text: `'; drop table versions; --` }))).toEqual([])
    expect(namesOf(await search({ text: '"units": 1234}' }))).toEqual(['big_v1.1234.0'])
  })

  it.each(['version', 'newest', 'oldest', 'auc', '-auc'])(
    'shows each version once in the order %s, page by page',
    async (order) => {
      const { found, pages } = await everyPage('/v1/versions', 'versions', { order, until, limit: '400' })
      const names = found.map(({ version }) => version)
      const isRanked = order.endsWith('auc')
      const expected = isRanked ? day - Math.floor(day / 7) : day
      expect(names).toHaveLength(expected)
      expect(new Set(names).size).toBe(expected)
      expect(pages).toBe(Math.ceil(expected / 400))
      if (isRanked) {
        const aucs = found.map((each) => (each['metrics'] as { auc: number }).auc)
        expect(aucs).toEqual([...aucs].sort((a, b) => (order === 'auc' ? b - a : a - b)))
      }
    },
  )

  it('reads a page by an index, not every version', async () => {
    const plans: string[] = []
    const explaining = {
      query: async <T extends object>(statement: ReturnType<typeof sql>): Promise<T[]> => {
        const rows = await fixture.store.query<{ 'QUERY PLAN': string }>(sql`explain ${statement}`)
        plans.push(rows.map((row) => row['QUERY PLAN']).join('\n'))
        return []
      },
    }
    await fixture.store
      .query(sql`insert into release_queue (id, model, version, requested_by, preemption, state, until, ended_at)
      select 'que_' || version, model, version, 'anna', 'none', 'superseded', now(), now() from versions where model = 'big'`)
    await fixture.store.query(sql`analyze release_queue`)
    await findVersions(explaining, { limit: 10, order: 'newest' })
    await findVersions(explaining, { limit: 10, order: { metric: 'auc', direction: 'descending' } })
    await findVersions(explaining, { limit: 10, model: 'big' })
    for (const plan of plans) expect(plan).not.toMatch(/Seq Scan on (versions|release_queue)/)
  })

  it('shows a key of some models only these, on every page', async () => {
    const held = await fixture.key({ role: 'viewer', models: ['small'] })
    await api.deps.authentication.refresh()
    const { json } = await api.request('GET', '/v1/versions?order=newest&limit=20', { key: held })
    expect(json['versions']).toHaveLength(10)
    expect(json).not.toHaveProperty('next_cursor')
    const trainings = await api.request('GET', '/v1/trainings', { key: held })
    expect(trainings.json['trainings']).toHaveLength(10)
    const compared = '/v1/versions/compare?one=small_v1.1.0&other=big_v1.77.0'
    expect((await api.request('GET', compared, { key: held })).json).toMatchObject({
      code: 'version_not_found',
    })
    expect((await api.request('GET', '/v1/trainings/t77', { key: held })).status).toBe(404)
  })

  it.each([
    ['status=live', /status: is one of drill, champion/],
    ['metric=area>1', /metric: there is no metric "area"; there are auc/],
    ['metric=auc', /metric: "auc" is not a condition/],
    ['since=yesterday', /since: Invalid time "yesterday"/],
    ['until=2026-02-30', /until: Invalid time "2026-02-30"/],
    ['since=2026-02-02&until=2026-02-01', /is not after since/],
    ['data=xyz', /data: "xyz" is not a digest/],
    ['order=best', /order: "best" is not one of version/],
    ['limit=1001', /limit/],
    ['limit=0', /limit/],
    ['cursor=nonsense', /is not a cursor; send next_cursor/],
    [`cursor=${Buffer.from('["version",1]').toString('base64url')}`, /is not a cursor/],
    [`order=newest&cursor=${Buffer.from('["newest","x","y"]').toString('base64url')}`, /is not a cursor/],
    [`cursor=${'a'.repeat(2_000)}`, /cursor/],
    [`text=${'a'.repeat(201)}`, /text/],
    ['colour=red', /colour/],
  ])('refuses %s with a reason', async (query, message) => {
    const { status, json } = await get(`/v1/versions?${query}`)
    expect([status, json['code']]).toEqual([400, 'invalid_request'])
    expect(json['detail']).toMatch(message)
  })

  it('refuses the cursor of another order', async () => {
    const first = await search({ order: 'newest', limit: '1' })
    const cursor = String(first.json['next_cursor'])
    expect((await search({ order: 'oldest', limit: '1', cursor })).json['detail']).toMatch(
      /belongs to another order than oldest/,
    )
  })
})

describe('two versions', () => {
  it.each([
    ['small_v1.1.0', 'small@v1.2.0'],
    ['small@1.1.0', 'small_v1.2.0'],
  ])('are compared as %s and %s', async (one, other) => {
    const { status, json } = await get(`/v1/versions/compare?${new URLSearchParams({ one, other })}`)
    expect(status).toBe(200)
    expect(json).toMatchObject({ one: 'small_v1.1.0', other: 'small_v1.2.0', notes: [/different test sets/] })
    const differences = json['differences'] as { section: string; field: string }[]
    expect(differences[0]).toEqual({
      section: 'metrics',
      field: 'auc',
      one: 0.001,
      other: 0.002,
      difference: 0.001,
    })
    expect(differences).toContainEqual({
      section: 'hyperparameters',
      field: 'units',
      one: 1,
      other: 2,
      difference: 1,
    })
    expect(json['same']).toContainEqual({
      section: 'size',
      field: 'parameters',
      one: 100,
      other: 100,
      difference: 0,
    })
    expect(json['same']).toContainEqual({
      section: 'training',
      field: 'loss',
      one: 0.25,
      other: 0.25,
      difference: 0,
    })
  })

  it('may be the champion and the latest', async () => {
    const { json } = await get('/v1/versions/compare?one=small@champion&other=small@latest')
    expect(json).toMatchObject({ one: 'small_v1.3.0', other: 'small_v1.10.0' })
  })

  it.each([
    ['one=small_v1.1.0', 400, /other/],
    ['one=small_v1.1.0&other=small', 400, /"small" is not a version; use model_v1.2.0/],
    ['one=small_v1.1.0&other=small@best', 400, /is not a version/],
    ['one=small_v1.1.0&other=small_v9.0.0', 404, /small_v9.0.0/],
    ['one=small@v9.0.0&other=small_v1.1.0', 404, /small_v9.0.0/],
    ['one=big@champion&other=small_v1.1.0', 404, /big has no champion yet/],
    ['one=tulip@latest&other=small_v1.1.0', 404, /there is no model "tulip"/],
  ])('%s is refused', async (query, status, message) => {
    const answer = await get(`/v1/versions/compare?${query}`)
    expect(answer.status).toBe(status)
    expect(answer.json['detail']).toMatch(message)
    expect(answer.json['remedy']).toEqual(expect.any(String))
  })
})

describe('trainings', () => {
  it('are shown with their inputs and their result', async () => {
    const { json } = await get('/v1/trainings?model=small&order=oldest&limit=1')
    expect(json['trainings']).toEqual([
      {
        id: 't1',
        model: 'small',
        status: 'done',
        snapshot_digest: `sha256:${'0'.repeat(63)}2`,
        code_digest: 'c',
        build_id: 'abc',
        dependencies_digest: 'd',
        dependencies: { node: '20.20.0' },
        hyperparameters: { units: 1 },
        seed: 1,
        epoch: 2,
        loss: 0.25,
        attempts: 1,
        metrics: { auc: 0.5 },
        evaluation_id: 'et1',
        verdict: 'better',
        version: 'small_v1.1.0',
        started_at: '2026-01-01T00:01:00.123Z',
        ended_at: '2026-01-01T00:01:30.123Z',
        duration_ms: 30_000,
      },
    ])
    const one = await get('/v1/trainings/t1')
    expect(one.json['curve']).toEqual([
      { epoch: 1, loss: 0.5 },
      { epoch: 2, loss: 0.25 },
    ])
  })

  it.each(['newest', 'oldest'])('are each shown once, the %s first', async (order) => {
    const { found } = await everyPage('/v1/trainings', 'trainings', { order, until, limit: '400' })
    expect(new Set(found.map(({ id }) => id)).size).toBe(day)
    expect(found).toHaveLength(day)
  })

  it('are found by data, time and status', async () => {
    const { json } = await get(
      `/v1/trainings?data=${'0'.repeat(62)}02&until=2026-01-01T00:05:00Z&status=done`,
    )
    expect(json['trainings']).toMatchObject([{ id: 't1' }])
    expect((await get('/v1/trainings?status=failed')).json).toEqual({ trainings: [] })
  })

  it('that do not exist are not found', async () => {
    expect((await get('/v1/trainings/none')).json).toMatchObject({ code: 'not_found' })
    expect((await get('/v1/trainings?status=lost')).json['detail']).toMatch(/status: is one of running/)
    expect((await get('/v1/trainings?cursor=x')).json['detail']).toMatch(/not a cursor/)
  })
})
