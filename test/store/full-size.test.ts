/**
 * Runs the pages, the watch of champions and retention on tables that hold a month of requests, and reads the plan of each statement that
 * Postgres executed. A statement that reads many more rows than it uses is fast on a new installation and fails on an old one, when
 * its page is needed most.
 */
import pg from 'pg'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import {
  listWatched,
  measureSlow,
  readLastMinute,
  storeWatched,
} from '../../store/registry/champion-watch.ts'
import { moveChampion, markKnownGood } from '../../store/registry/champions.ts'
import { deleteExpiredRows, expiringTables } from '../../store/serving/prediction-log.ts'
import { pagesOf } from '../support/dashboard/page-texts.ts'
import { seedHalfYear } from '../support/dashboard/half-year-rows.ts'
import { irisSpec } from '../support/serving/artifact.ts'
import {
  methodOf,
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../support/serving/serving-fixture.ts'

const model = 'month'
const replicas = 1
const days = 30

interface Node {
  'Node Type': string
  'Relation Name'?: string
  'Actual Rows': number
  'Actual Loops': number
  'Rows Removed by Filter'?: number
  'Rows Removed by Index Recheck'?: number
  Filter?: string
  Plans?: Node[]
}
interface Executed {
  text: string
  plan: Node
}
const executed: Executed[] = []

let servers: ServingFixture
let api: TestApi
let champion: string
let key: string

beforeAll(async () => {
  servers = await openServingFixture()
  champion = await servers.register(irisSpec(model))
  await servers.store.transaction(async (database) => {
    await moveChampion(database, { model, to: champion, cause: 'promotion', actor: 'anna', reason: 'better' })
    await markKnownGood(database, champion)
  })
  await servers.store.query(
    sql`update champions set since = now() - interval '31 days' where model = ${model}`,
  )
  await seedHalfYear(servers.store, { model, champion })
  await fill()
  await explainAll()
  // Before the start of the API, which knows it then.
  key = await servers.key({ role: 'admin' })
  api = await startApi(servers)
})
afterAll(async () => {
  vi.restoreAllMocks()
  await api?.stop()
  await servers?.close()
})

/** Fills each table that grows with requests or windows, as replicas that are asked all the time do in a month. */
async function fill(): Promise<void> {
  await servers.store.query(sql`
    insert into tick_counters (model, release_id, replica_id, version, arm, tick, tick_ms, generation, requests, latency)
    select ${model}, '', 'replica ' || replica, ${champion}, 'champion', to_timestamp(floor(extract(epoch from now()) / 10) * 10 - 10 * place),
      10000, 1, 100, '{"1000": 98, "2000": 2}'
    from generate_series(1, ${days * 8_640}::int) as place, generate_series(1, ${replicas}::int) as replica`)
  await servers.store.query(sql`
    insert into feature_counts (model, version, hour, kind, name, replica_id, counts)
    select ${model}, ${champion}, date_trunc('hour', now()) - hour * interval '1 hour', 'feature', 'feature ' || feature,
      'replica ' || replica, array_fill(10, array[12])
    from generate_series(1, ${days * 24}::int) as hour, generate_series(1, 20) as feature, generate_series(1, ${replicas}::int) as replica`)
  await servers.store.query(sql`
    select make_prediction_day((now() at time zone 'UTC')::date - day) from generate_series(1, ${days}::int) as day`)
  await servers.store.query(sql`
    insert into predictions (id, at, model, version, arm, generation, instances, features, outputs, latency_us)
    select overlay(first_id_at(asked)::text placing lpad(to_hex(i % 4096), 3, '0') from 16)::uuid, asked, ${model}, ${champion}, 'champion', 1, 1, '',
      array[(i % 10) / 10.0 + 0.05]::real[], 100
    from generate_series(1, 100000) as i,
      lateral (select date_trunc('milliseconds', now()) - i * interval '25 seconds' as asked) as moment on conflict do nothing`)
  await servers.store.query(sql`
    insert into outcomes (prediction_id, value, observed_at, arrived_at)
    select id, to_jsonb(outputs[1] > 0.5), at, at from predictions where model = ${model}`)
  await servers.store.pool.query('vacuum analyze')
}

/** Lets Postgres send the plan of each statement of this database to the connection that asked it. */
async function explainAll(): Promise<void> {
  const admin = new pg.Client({ connectionString: servers.databaseUrl })
  await admin.connect()
  const name = pg.escapeIdentifier(new URL(servers.databaseUrl).pathname.slice(1))
  const settings = {
    session_preload_libraries: 'auto_explain',
    'auto_explain.log_min_duration': '0',
    'auto_explain.log_analyze': 'on',
    'auto_explain.log_timing': 'off',
    'auto_explain.log_format': 'json',
    'auto_explain.log_level': 'notice',
    'auto_explain.log_nested_statements': 'on',
  }
  for (const [setting, value] of Object.entries(settings))
    await admin.query(`alter database ${name} set ${setting} = '${value}'`)
  await admin.end()
  const emit = pg.Client.prototype.emit
  vi.spyOn(pg.Client.prototype, 'emit').mockImplementation(function (
    this: pg.Client,
    event,
    ...rest: unknown[]
  ) {
    const json = /plan:\n([^]*)$/.exec(String((rest[0] as Error | undefined)?.message))?.[1]
    if (event === 'notice' && json !== undefined) {
      const { 'Query Text': text, Plan: plan } = JSON.parse(json) as { 'Query Text': string; Plan: Node }
      executed.push({ text, plan })
    }
    return emit.call(this, event, ...rest)
  })
}

/** A page or a look of the watch may read this many rows of a table: three days of ticks. What sums a longer time is not read by request. */
const maxRows = 3 * replicas * 8_640

/** The nodes of a plan that read many rows of a table and drop most of them, and those that read more than a request may. */
function wasteOf({ plan, text }: Executed): string[] {
  const found: string[] = []
  const visit = (node: Node): void => {
    const loops = Math.max(1, node['Actual Loops'])
    const kept = node['Actual Rows'] * loops
    const dropped =
      ((node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Index Recheck'] ?? 0)) * loops
    const isWasteful = dropped > 10_000 && dropped > 100 * kept
    if (node['Relation Name'] !== undefined && (isWasteful || kept + dropped > maxRows))
      found.push(
        `${node['Relation Name']}: ${kept + dropped} rows read for ${kept}, filter ${node.Filter}, in ${text.trim().replaceAll(/\s+/g, ' ').slice(0, 200)}`,
      )
    for (const each of node.Plans ?? []) visit(each)
  }
  visit(plan)
  return found
}

const wasted = (): string[] => [...new Set(executed.splice(0).flatMap(wasteOf))]

it('the plans of executed statements are seen, and one that filters a month by time is found', async () => {
  const store = api.deps.store
  await store.query(
    sql`select count(*) from tick_counters where model = ${model} and tick > clock_timestamp() - interval '1 minute'`,
  )
  expect(wasted()).toHaveLength(1)
})

it('the watch of champions reads the ticks that it judges', async () => {
  const { store } = api.deps
  const [watched] = await listWatched(store)
  expect(watched?.ticks.length).toBeGreaterThan(300)
  await storeWatched(store, [
    { model, version: champion, state: { isFailing: false } as never, judgedMs: Date.now() - 120_000 },
  ])
  expect(await listWatched(store)).toHaveLength(1)
  await measureSlow(store)
  expect((await readLastMinute(store, [model])).get(model)?.champion?.requests).toBeGreaterThan(0)
  expect(wasted()).toEqual([])
})

it('every page and every list of the API reads what it shows', async () => {
  const signed = await api.request('POST', '/sign-in', {
    body: new URLSearchParams({ key }).toString(),
    headers: { accept: 'text/html', host: 'localhost', 'content-type': 'application/x-www-form-urlencoded' },
  })
  const cookie = signed.headers.get('set-cookie')!.split(';')[0]!
  for (const [path] of pagesOf({ model, champion }))
    await api.request('GET', path, { headers: { accept: 'text/html', host: 'localhost', cookie } })
  for (const route of api.routes.filter(({ method }) => method === 'get')) {
    const path = route.path
      .replaceAll(':name', model)
      .replaceAll(':model', model)
      .replaceAll(':version', champion)
    await api.request(methodOf(route), path, { headers: { authorization: `Bearer ${key}` } })
  }
  expect(wasted()).toEqual([])
})

it('retention deletes a batch of each table without reading the rest', async () => {
  const { store } = api.deps
  for (const table of expiringTables) await deleteExpiredRows(store, { table, keepDays: 29, limit: 500 })
  expect(wasted()).toEqual([])
})
