/** Tests the list of models, the recorded traffic and feature counts of a model, and their evaluation by `tenure monitor backtest`. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { commands } from '../../../../cli/commands/all-commands.ts'
import { countBins, numberProfile } from '../../../../domain/model/reference-profile.ts'
import type { AlertKind } from '../../../../domain/monitoring/alert-kinds.ts'
import { listModelHistory } from '../../../../store/dashboard/model-history.ts'
import { upsertAlert } from '../../../../store/monitoring/alerts.ts'
import { readDayTraffic, readRequestRate } from '../../../../store/dashboard/overview.ts'
import { insertQualityJudgement } from '../../../../store/monitoring/monitor-windows.ts'
import { moveChampion } from '../../../../store/registry/champions.ts'
import { digestOfJson } from '../../../../store/artifacts.ts'
import { getModel } from '../../../../store/registry/models.ts'
import { runCommand } from '../../../support/command-line.ts'
import { listenFor } from '../../../support/serving/api-address.ts'
import { irisSpec } from '../../../support/serving/artifact.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../../support/serving/serving-fixture.ts'

const lengths = (shift: number) => Array.from({ length: 2_000 }, (_, i) => (i % 100) / 100 + shift)
let fixture: ServingFixture
let api: TestApi
let key: string
const get = (path: string) => api.request('GET', path, { key })

beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key()
  const to = await fixture.register(irisSpec())
  await fixture.store.query(sql`
    update versions set manifest = ${JSON.stringify({ output: irisSpec().output })}::jsonb where version = ${to}`)
  await moveChampion(fixture.store, { model: 'iris', to, cause: 'promotion', actor: 'anna', reason: 'first' })
  api = await startApi(fixture)
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
})

/** Whether the replica has read the routing meanwhile, as it does every two seconds. */
const isRouting = (text: string): boolean => text.includes('"databaseMs"')

it('the list of models takes as many statements for a hundred models as for one', async () => {
  const { store } = api.deps
  const { query } = store
  const list = async () => {
    const texts: string[] = []
    store.query = (statement) => {
      texts.push(statement.sql)
      return query(statement)
    }
    const { json } = await get('/v1/models').finally(() => (store.query = query))
    return {
      models: json['models'] as { name: string }[],
      reads: texts.filter((text) => /champions|releases|monitor_windows/.test(text) && !isRouting(text))
        .length,
    }
  }
  const one = await list()
  expect(one.models).toMatchObject([
    { name: 'iris', champion: { version: 'iris_v1.0.0' }, parts_unmeasured: [] },
  ])
  const write = fixture.store
  await write.query(sql`
    insert into models (name, definition, code_digest)
    select 'iris' || n, definition, code_digest from models, generate_series(1, 100) as n`)
  const all = await list()
  await write.query(sql`delete from request_fields where model <> 'iris'`)
  await write.query(sql`delete from models where name <> 'iris'`)
  expect(all.models).toHaveLength(101)
  expect(all.reads).toBe(one.reads)
})

it('the traffic of a model contains the champion’s ticks of the last day', async () => {
  await fixture.store.query(sql`insert into tick_counters
      (model, replica_id, version, arm, tick, tick_ms, generation, requests, errors, invalid)
    select 'iris', replica, 'iris_v1.0.0', arm, date_trunc('hour', clock_timestamp()) - before, 10000, 1, 40, 2, 1
    from (values ('a', 'champion', interval '2 hours'), ('b', 'champion', interval '2 hours'),
      ('a', 'control', interval '1 hour'), ('a', 'canary', interval '1 hour'), ('a', 'champion', interval '25 hours')) as ticks(replica, arm, before)`)
  const { json } = await get('/v1/models/iris/traffic')
  const { ticks, ...rest } = json as { ticks: { requests: number }[] }
  expect(rest).toEqual({ model: 'iris', tick_ms: 10_000 })
  expect(ticks.filter(({ requests }) => requests > 0)).toEqual([
    { requests: 80, errors: 4, invalid: 2 },
    { requests: 40, errors: 2, invalid: 1 },
  ])
  // It has served for longer than a day, so the idle time of the day counts from its beginning.
  expect(ticks).toHaveLength(8_640)
  const [first, second] = [80, 40].map((requests) => ticks.findIndex((tick) => tick.requests === requests))
  expect(second! - first!).toBe(360)
  const { perSecond, spanMs } = await readRequestRate(fixture.store, 'iris')
  expect(perSecond).toBeCloseTo(160 / 86_400, 5)
  expect(spanMs).toBeCloseTo(86_400_000, -3)
  expect((await get('/v1/models/nothing/traffic')).status).toBe(404)
})

it('the timeline has an alert as an incident and no request for an approval or a decision', async () => {
  const { store } = fixture
  const fromAt = new Date(Date.now() - 3_600_000).toISOString()
  const raise = (kind: AlertKind) =>
    upsertAlert(store, { dedupeKey: kind, model: 'iris', severity: 'warning', kind, message: kind })
  for (const kind of ['approval_needed', 'decision_needed', 'drift_warn'] as const) await raise(kind)
  const spans = await listModelHistory(store, { models: ['iris'], fromAt, limit: 10 })
  expect(spans.map(({ name }) => name)).toEqual(['drift_warn'])
  await store.query(sql`delete from alerts`)
})

it('a counted tick that is longer than the asked ones is spread over them', async () => {
  const { store } = fixture
  await store.query(sql`insert into tick_counters
      (model, replica_id, version, arm, tick, tick_ms, generation, requests, errors, invalid)
    select 'tulip', 'a', 'tulip_v1.0.0', 'champion', date_trunc('minute', clock_timestamp()) - before, tick_ms, 1, requests, 1, 0
    from (values (interval '70 seconds', 10000, 55), (interval '60 seconds', 1000, 7)) as ticks(before, tick_ms, requests)`)
  const ticks = await readDayTraffic(store, { model: 'tulip', tickMs: 1_000 })
  const idle = ticks.slice(11)
  expect(ticks.slice(0, 11).map(({ requests }) => requests)).toEqual([5, 6, 5, 6, 5, 6, 5, 6, 5, 6, 7])
  // The model is younger than a day: its time begins with its first request, and continues without one.
  expect(idle.length).toBeGreaterThan(55)
  expect(idle.every(({ requests }) => requests === 0)).toBe(true)
  const seconds = ticks.length
  const { perSecond, spanMs } = await readRequestRate(store, 'tulip')
  const later = (await readDayTraffic(store, { model: 'tulip', tickMs: 1_000 })).length
  expect(perSecond).toBeCloseTo(62 / (spanMs / 1_000), 9)
  expect(spanMs / 1_000).toBeGreaterThan(seconds - 3)
  expect(spanMs / 1_000).toBeLessThan(later + 3)
  expect(ticks.reduce((sum, { errors }) => sum + errors, 0)).toBe(2)
})

it("the traffic of a model contains the champion's answers and the delays of outcomes, for simulations", async () => {
  const { store } = fixture
  const setosa = '{0.9,0.05,0.05}'
  await store.query(sql`
    insert into predictions (id, at, model, version, arm, generation, instances, features, outputs, latency_us)
    select ('00000000-0000-4000-8000-' || lpad(to_hex(i), 8, '0') || '0000')::uuid, clock_timestamp() - i * interval '1 minute',
      'iris', 'iris_v1.0.0', 'champion', 1, 1, '', case when i <= 6 then ${setosa}::real[] else '{0,1,0}' end, 1
    from generate_series(1, 10) as i`)
  expect((await get('/v1/models/iris/traffic')).json).toMatchObject({
    answers: { names: ['setosa', 'versicolor', 'virginica'], counts: [6, 4, 0] },
  })
  expect((await get('/v1/models/iris/traffic')).json).not.toHaveProperty('labels')

  await store.query(sql`
    insert into outcomes (prediction_id, value, observed_at, arrived_at)
    select id, '"setosa"'::jsonb, at, at + interval '10 seconds' from predictions where model = 'iris' and outputs[2] < 1
    union all select id, '"virginica"'::jsonb, at, at + interval '10 seconds' from predictions
      where model = 'iris' and outputs[2] = 1 and at < clock_timestamp() - interval '9 minutes'`)
  const toMs = Date.now()
  await insertQualityJudgement(store, {
    model: 'iris',
    version: 'iris_v1.0.0',
    fromMs: toMs - 3_600_000,
    toMs,
    report: { level: 'held', judge: 'quality@1' } as never,
    inputs: { maturity: { status: 'ok', horizonMs: 60_000, delays: 200 }, predictions: 9, labels: 9 },
    policy: {} as never,
  })
  expect((await get('/v1/models/iris/traffic')).json).toMatchObject({
    labels: { delay_ms: 60_000, window_ms: 3_600_000, predictions: 10, known: 8, right: 6 },
  })
})

it('the feature counts of a model are those that the monitor judges, and tenure monitor backtest judges them again', async () => {
  expect((await get('/v1/models/iris/feature-counts')).json).toMatchObject({
    status: 404,
    detail: 'iris_v1.0.0 has no training profile',
  })
  const profile = {
    rows: 2_000,
    features: [numberProfile('sepalLength', lengths(0))],
    scores: ['near', 'far'].map((name) => numberProfile(name, lengths(0))),
  }
  const counted = (shift: number) => `{${countBins(profile.features[0]!, lengths(shift)).join()}}`
  await fixture.store
    .query(sql`update versions set manifest = manifest || ${JSON.stringify({ features: {}, profile })}::jsonb
    where version = 'iris_v1.0.0'`)
  await fixture.store
    .query(sql`insert into feature_counts (model, version, hour, replica_id, kind, name, counts)
    select 'iris', 'iris_v1.0.0', date_trunc('hour', clock_timestamp()) - before * interval '1 hour', 'a', 'feature', 'sepalLength',
      case when before > 30 then ${counted(0)}::bigint[] else ${counted(0.3)}::bigint[] end
    from generate_series(1, 100) as before`)
  // The second of two numbers shifts together with the feature.
  await fixture.store
    .query(sql`insert into feature_counts (model, version, hour, replica_id, kind, name, counts)
    select 'iris', 'iris_v1.0.0', hour, 'a', 'score', number,
      case when number = 'near' then ${counted(0)}::bigint[] else counts end
    from feature_counts, unnest(array['near', 'far']) as number where model = 'iris' and version = 'iris_v1.0.0'`)
  const { status, json } = await get('/v1/models/iris/feature-counts?days=2')
  expect(status).toBe(200)
  expect(json).toMatchObject({ version: 'iris_v1.0.0', count_ms: 3_600_000, profile })
  expect((json['counts'] as unknown[]).length).toBeGreaterThanOrEqual(47)
  expect(json['counts']).toContainEqual(
    expect.objectContaining({
      scores: { near: expect.any(Array) as number[], far: expect.any(Array) as number[] },
    }),
  )
  expect((await get('/v1/models/iris/feature-counts?days=1000')).status).toBe(400)
  expect((await get('/v1/models/iris/feature-counts?before=week')).status).toBe(400)
  expect(json).not.toHaveProperty('earlier')
  const before = (await get('/v1/models/iris/feature-counts?days=1&before=172800000')).json
  // The day and the window before it; two days earlier.
  expect((before['earlier'] as unknown[]).length).toBeGreaterThanOrEqual(46)

  const page = await get('/models/iris/features')
  expect(page.status).toBe(200)
  expect(page.text).toMatch(/prediction of near.*prediction of far.*sepalLength/s)

  const { url, close } = await listenFor(api)
  vi.stubEnv('TENURE_KEY', key)
  const backtest = (...words: string[]) =>
    runCommand(commands, ['monitor', 'backtest', 'iris', '--url', url, ...words])
  const { code, out, err } = await backtest()
  expect([code, err]).toEqual([0, ''])
  expect(out).toMatch(
    /iris_v1\.0\.0: 100 windows with requests in 30 days, \d+ with enough rows; warning from PSI 0\.1/,
  )
  expect(out).toMatch(/1 alarm would have been raised/)
  expect(out).toMatch(/sepalLength/)
  expect(out).toMatch(/^far /m)
  expect(out).not.toMatch(/near/)
  expect(out).toMatch(
    /False alarms: 0 in 10 histories with the hours shuffled within the day, 0 a month, at most [\d.]+ \(95 %\)\./,
  )
  expect((await backtest('--warn', '9', '--alarm', '9')).out).toContain('No window would have warned.')
  // From half an hour before the last counted hour, whatever hour it is since.
  const [newest] = (json['counts'] as { at: string }[]).map(({ at }) => Date.parse(at)).sort((a, b) => b - a)
  const days = ((Date.now() - newest! + 1_800_000) / 86_400_000).toFixed(3)
  const single = (await backtest('--days', days)).out
  expect(single).toContain(` 1 window with requests in ${Number(days)} days, 1 with enough rows`)
  expect(single).toContain('Too few windows with enough rows to measure false alarms.')
  expect((await backtest('--alarm', '0.05')).err).toContain('--alarm (0.05) must not be below --warn (0.1)')
  close()
})

it('a model is shown with the digest of its definition, which tells whether its file has changed since', async () => {
  const { definition } = await getModel(fixture.store, 'iris')
  expect((await get('/v1/models/iris')).json).toMatchObject({ definition_digest: digestOfJson(definition) })
})

it('the traffic of several numbers holds each of them by its name', async () => {
  const names = ['price', 'rent', 'tax']
  const tenths = Array.from({ length: 101 }, (_, i) => i / 100)
  const profile = { rows: 101, features: [], scores: names.map((name) => numberProfile(name, tenths)) }
  const manifest = { output: { kind: 'numbers', names }, profile }
  await fixture.store.query(sql`
    update versions set manifest = manifest || ${JSON.stringify(manifest)}::jsonb where version = 'iris_v1.0.0'`)
  const { answers } = (await get('/v1/models/iris/traffic')).json as {
    answers: { names: string[]; counts: number[]; scores: number[]; others: (typeof answers)[] }
  }
  const each = [answers, ...answers.others]
  expect(each.map(({ names: [first] }) => first)).toEqual(
    names.map((name) => `${name} below ${Math.fround(0.1)}`),
  )
  // Six answers are 0.9, 0.05 and 0.05; four are 0, 1 and 0.
  expect(each.map(({ counts }) => counts)).toEqual([
    [4, 0, 0, 6],
    [6, 0, 0, 4],
    [10, 0, 0, 0],
  ])
  expect(each.map(({ scores }) => [scores[0], scores[100]?.toFixed(2)])).toMatchObject([
    [0, '0.90'],
    [expect.closeTo(0.05, 6), '1.00'],
    [0, '0.05'],
  ])
})
