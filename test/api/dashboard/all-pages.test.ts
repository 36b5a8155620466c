/** Tests the pages of models, data and operations on one replica: content, refusals, escaping and number of statements. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { pageRegistry } from '../../../api/dashboard/page-registry.ts'
import { judgeGate } from '../../../domain/evaluation/gate.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import { idsOfRow } from '../../../domain/training/runs.ts'
import { snapshotColumns } from '../../../domain/model-definition.ts'
import { markKnownGood, moveChampion } from '../../../store/registry/champions.ts'
import { listAlerts, resolveAlert, upsertAlert } from '../../../store/monitoring/alerts.ts'
import { writeDeliverySign } from '../../../store/monitoring/notifications.ts'
import { appendAudit, listAudit } from '../../../store/audit/audit-log.ts'
import { listOverviewRows } from '../../../store/dashboard/overview.ts'
import { recordUnheldDrill } from '../../../store/release/drills.ts'
import { irisSpec, putArtifact } from '../../support/serving/artifact.ts'
import { registerDigest, snapshotOf } from '../../support/serving/registration.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'
import { seedHalfYear } from '../../support/dashboard/half-year-rows.ts'
import { gateOfRows, profitPolicy } from '../../support/release/certificates.ts'
import { pagesOf, pagesWithTests, clockIssues } from '../../support/dashboard/page-texts.ts'
import { seedSweep, seedTriggers } from '../../support/dashboard/training-rows.ts'

const hostile = `"><img src=x onerror="window.hurt=1"><script>window.hurt=1</script>`
const model = 'late-trains'
const champion = `${model}_v1.40.0`
const roles = ['viewer', 'operator', 'admin'] as const
type Name = (typeof roles)[number] | 'elsewhere'

let servers: ServingFixture
let api: TestApi
const apiKeys = {} as Record<Name | 'predictor', string>
const sessions = {} as Record<Name, { cookie: string; token: string }>

const browser = { accept: 'text/html', host: 'localhost' }
const get = async (path: string, as: Name = 'viewer', zone = 'UTC') => {
  const cookie = `${sessions[as].cookie}; tenure_zone=${zone}`
  const page = await api.request('GET', path, { headers: { ...browser, cookie } })
  return { ...page, text: page.text.replaceAll('\u00a0', ' ') }
}
const post = (path: string, form: Record<string, string>, as: Name, token = sessions[as].token) =>
  api.request('POST', path, {
    body: new URLSearchParams({ ...form, token }).toString(),
    headers: { ...browser, cookie: sessions[as].cookie, 'content-type': 'application/x-www-form-urlencoded' },
  })

beforeAll(async () => {
  servers = await openServingFixture()
  const keys: Record<Name, string> = {
    viewer: await servers.key({ role: 'viewer', name: 'vera' }),
    operator: await servers.key({ role: 'operator', name: 'olga' }),
    admin: await servers.key({ role: 'admin', name: 'root' }),
    elsewhere: await servers.key({ role: 'admin', name: 'elsa', models: ['other'] }),
  }
  Object.assign(apiKeys, keys, { predictor: await servers.key({ role: 'predictor' }) })
  api = await startApi(servers)
  for (const [name, key] of Object.entries(keys) as [Name, string][]) {
    const signed = await api.request('POST', '/sign-in', {
      body: new URLSearchParams({ key }).toString(),
      headers: { ...browser, 'content-type': 'application/x-www-form-urlencoded' },
    })
    const cookie = signed.headers.get('set-cookie')!.split(';')[0]!
    sessions[name] = { cookie, token: '' }
    sessions[name].token = /name="token" value="([^"]+)"/.exec((await get('/models', name)).text)![1]!
  }
  const spec = irisSpec(model)
  const digest = await putArtifact(servers.artifactRoot, spec)
  for (let minor = 0; minor < 45; minor++)
    await registerDigest(servers.store, servers.artifactRoot, { ...spec, digest }, minor)
  await servers.register(irisSpec('other'))
  await servers.store.query(sql`
    update versions set lineage = jsonb_build_object('metrics', jsonb_build_object('auc', 0.6 + minor / 1000.0, 'profit', minor), 'snapshot',
      'sha256:' || lpad(minor::text, 64, '0'), 'reason', 'manual', 'hyperparameters', jsonb_build_object('rate', minor))
    where model = ${model}`)
  await servers.store.query(sql`delete from validations where snapshot_digest = ${snapshotOf(champion)}`)
  await servers.store.query(sql`
    insert into version_metrics (version, metric, value)
    select version, 'auc', (lineage -> 'metrics' ->> 'auc')::float8 from versions where model = ${model}`)
  await servers.store.transaction(async (database) => {
    await moveChampion(database, {
      model,
      to: champion,
      cause: 'promotion',
      actor: 'anna',
      reason: `better ${hostile}`,
    })
    await markKnownGood(database, champion)
  })
  await seedHalfYear(servers.store, { model, champion, hostile })
  const { report } = gateOfRows(profitPolicy)
  await servers.store.query(
    sql`update evaluations set report = ${JSON.stringify(report)} where id = (select evaluation_id from versions where version = ${champion})`,
  )
  await seedSweep(servers.store, { model, hostile })
  await seedTriggers(servers.store, { model, hostile })
  await servers.store.query(sql`
    insert into predictions (id, at, model, version, arm, generation, instances, features, outputs, latency_us)
    select first_id_at(asked), asked, ${model}, ${champion}, 'champion', 1, 1, '', array[(i % 10) / 10.0 + 0.05]::real[], 100
    from generate_series(1, 200) as i,
      lateral (select date_trunc('milliseconds', now()) - i * interval '1 second' as asked) as moment`)
  await servers.store.query(sql`
    insert into outcomes (prediction_id, value, observed_at)
    select id, to_jsonb((extract(epoch from at)::bigint * 7) % 10 < outputs[1] * 10), at from predictions`)
})
afterAll(async () => {
  await api.stop()
  await servers.close()
})

const at = (path: string) => `/models/${model}${path}`
const pages = pagesOf({ model, champion })

it('a page of the registry has a text here, or its own test', () => {
  const patterns = (pattern: string) => new RegExp(`^${pattern.replaceAll(/:\w+/g, '[^/]+')}$`)
  const paths = pages.map(([path]) => path.split('?')[0]!)
  const without = pageRegistry.filter(({ path }) => !paths.some((each) => patterns(path).test(each)))
  expect(without.map(({ path }) => path)).toEqual(Object.keys(pagesWithTests))
})

describe.each(pages)('the page %s', (path, words) => {
  it('shows its content with at most 14 statements, and escapes hostile texts', async () => {
    const { status, text, headers } = await get(path)
    expect([status, clockIssues(text, 'UTC')]).toEqual([200, []])
    expect(text).toContain(words)
    expect(text).not.toMatch(/<img src=x|<script>window|<style|\sstyle=|NaN|\[object|undefined</)
    expect(headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(
      Number(/statements;desc="(\d+)"/.exec(headers.get('server-timing') ?? '')?.[1]),
    ).toBeLessThanOrEqual(14)
  })
  it('shows its times on the clock of each reader', async () => {
    for (const zone of ['Asia/Calcutta', 'America/New_York', 'Asia/Calcutta']) {
      const { status, text } = await get(path, 'viewer', zone)
      expect([status, clockIssues(text, zone)]).toEqual([200, []])
    }
  })
  it('redirects to sign-in without a session', async () => {
    const sent = await api.request('GET', path, { headers: browser })
    expect([sent.status, sent.headers.get('location')?.split('?')[0]]).toEqual([303, '/sign-in'])
  })
})

describe('a custom primary metric', () => {
  const stands =
    'profit is a function of the model file, which runs in the gate and in sweeps only: AUC stands in for it in windows of the monitor, slices and the importance of features, and shadow, A/B test and probation judge outcomes by cost of decisions.'
  it.each(['', `/versions/${champion}`])(
    'is told with what stands in for it on the page %s',
    async (path) => {
      const { text } = await get(at(path))
      expect(text).toContain(stands)
      expect(text).toContain('profit')
    },
  )

  it('ranks the trials of a sweep and stands first among the metrics of versions', async () => {
    expect((await get('/sweeps/swp_1')).text).toMatch(/profit/)
    const heads = (await get(at(''))).text.matchAll(/<th scope="col"[^>]*>(.*?)<\/th>/g)
    const names = Array.from(heads, ([, head]) => head!.replaceAll(/<[^>]+>/g, ''))
    expect(names[names.indexOf('profit') + 1]).toBe('AUC')
  })

  it('is in the card with the sentence', async () => {
    const { text } = await api.request('GET', `/models/${model}/versions/${champion}/card`, {
      headers: { ...browser, cookie: sessions.viewer.cookie },
    })
    expect(text).toContain('AUC stands in for it')
  })
})

describe('the overview', () => {
  const partOf = async (id: string) =>
    new RegExp(`<(\\w+) id="${id}".*?</\\1>`, 's').exec((await get('/')).text)![0]
  it('begins with what is wrong, then lists what needs someone, models by trouble and recent changes', async () => {
    const { text } = await get('/')
    expect(/<h1>(.*?)<\/h1>/.exec(text)?.[1]).toContain(`${model}: quality lost`)
    expect(await partOf('now')).toMatch(/quality lost.*input drift/s)
    expect([...text.matchAll(/<tr id="m-([^"]+)"/g)].map(([, name]) => name)).toEqual([model, 'other'])
    expect(text).toMatch(/title="since [^"]* UTC by anna"/)
    expect(await partOf('changes')).toMatch(/late-trains retraining: failed the gate/)
    expect((await get('/timeline')).text).toMatch(/<desc id="lanes-1240-desc">late-trains: [^<]*drift/)
  })
  it('leaves out questions of releases, which the releases ask, and puts a critical alert before hundreds of newer ones', async () => {
    await upsertAlert(servers.store, {
      dedupeKey: 'of a release',
      model,
      severity: 'info',
      kind: 'approval_needed',
      message: 'Approve it?',
      evidence: { release: 'rel_01a2' },
    })
    await servers.store.query(sql`
      insert into alerts (dedupe_key, model, severity, kind, message)
      select 'many ' || i, 'other', 'warning', 'service_latency', 'newer' from generate_series(1, 501) as i`)
    const now = await partOf('now')
    await servers.store.query(sql`delete from alerts where message = 'newer'`)
    expect(now).toMatch(/quality lost.*other: predictions are slow, 501 alerts/s)
    expect(now).not.toContain('Approve it?')
    expect((await get('/alerts')).text).not.toContain('Approve it?')
    await resolveAlert(servers.store, 'of a release', 'measured')
  })
  it('shows the models with a part of a name, and more rows on demand', async () => {
    const rowsOf = async (query: string) =>
      [...(await get(`/?${query}`)).text.matchAll(/<tr id="m-([^"]+)"/g)].map(([, name]) => name)
    expect(await rowsOf('q=OTH')).toEqual(['other'])
    expect(await rowsOf('q=nothing')).toEqual([])
    expect((await get('/?q=nothing')).text).toContain('No model has this in its name.')
    expect(await rowsOf('rows=1')).toEqual([model])
    expect((await get('/?rows=1')).text).toMatch(/1 of 2 models · <a href="\/\?rows=31"[^>]*>1 more</)
    expect((await get('/?rows=301')).status).toBe(400)
  })
  it('has the primary metric of the evaluation for a champion without outcomes', async () => {
    const [row] = await listOverviewRows(servers.store, [model])
    expect(row?.evaluated).toMatchObject({ metric: 'profit', value: 40 })
  })
})

it("a sweep ranks its trials, names the trial that went to the gate, and links to the gate's result", async () => {
  const { text } = await get('/sweeps/swp_1')
  const rows = [...text.matchAll(/<th scope="row">(.*?)<\/th>/g)].map(([, cell]) =>
    cell!.replaceAll(/<[^>]+>/g, ''),
  )
  expect(rows.slice(0, 2)).toEqual(['rate 2 to the gate', 'rate 1 '])
  expect(rows).toHaveLength(3)
  expect(text).toContain('<a href="/retrainings/retrain%2Fswp">failed the gate</a>')
  expect((await get('/sweeps/swp_1', 'elsewhere')).status).toBe(404)
  expect((await get('/sweeps?model=other')).text).toContain('No sweeps match')
})

describe('the search', () => {
  const search = async (q: string, key: string) => {
    const { status, json } = await api.request('GET', `/v1/search?${new URLSearchParams({ q })}`, { key })
    return { status, found: (json as { results?: Record<string, string>[] }).results ?? [] }
  }

  it('finds each kind with the path of its page, and only what contains every word', async () => {
    const key = apiKeys.viewer
    const { found } = await search('LATE-trains', key)
    expect(found[0]).toMatchObject({ kind: 'model', name: model, path: `/models/${model}` })
    expect(found.filter(({ kind }) => kind === 'version')).toHaveLength(5)
    const audit = (await search('champion.promoted release', key)).found
    expect(audit.map(({ kind }) => kind)).toEqual(['audit'])
    expect((await get(audit[0]!['path']!)).text).toContain('champion.promoted')
    expect((await search('late-trains nothing', key)).found).toEqual([])
    for (const literal of ['%', '_rains', '\\']) expect((await search(literal, key)).found).toEqual([])
  })

  it('shows a key of one model nothing of another, and refuses other roles and long texts', async () => {
    const { elsewhere } = apiKeys
    expect((await search('late', elsewhere)).found).toEqual([])
    expect((await search('other', elsewhere)).found[0]).toMatchObject({ kind: 'model', name: 'other' })
    expect((await search('late', apiKeys.predictor)).status).toBe(403)
    expect((await search('x'.repeat(201), elsewhere)).status).toBe(400)
    expect((await search(' ', elsewhere)).status).toBe(400)
    expect((await get(`/search?q=${'x'.repeat(201)}`)).status).toBe(400)
  })
})

it.each([
  '/models/unknown',
  '/models/unknown/features',
  at('/versions/late-trains_v9.9.9'),
  `/models/other/versions/${champion}`,
  `/models/other/versions/${champion}/card`,
  `/compare?one=${model}@v1.1.0&other=late-trains_v9.9.9`,
  '/data/nothing',
  '/runbooks/nothing',
  '/runbooks/..%2f..%2fREADME',
  '/runbooks/README',
  '/drills?before=drl_nothing',
  `/models/${'x'.repeat(2_000)}`,
])('%s is not found', async (path) => {
  const { status, text } = await get(path)
  expect(status).toBe(404)
  expect(text).toContain('Page not found')
  expect(text).toContain('Go to overview')
})

it.each([
  '/models?nonsense=1',
  at('?at=yesterday'),
  at('?cursor=nonsense'),
  '/versions?metric=nonsense',
  '/versions?status=nonsense',
  '/versions?since=2026-02-01&until=2026-01-01',
  '/versions?data=xyz',
  '/compare?one=nonsense&other=nonsense',
  '/data?after=nonsense',
  `/data?after=${encodeURIComponent("2026-01-01 00:00:00+00'~x")}`,
  '/alerts?before=0',
  '/audit?before=x',
  `/audit?actor=${'x'.repeat(500)}`,
])('%s is an invalid request', async (path) => {
  const { status, text } = await get(path)
  expect(status).toBe(400)
  expect(text).toContain('Invalid request')
  expect(text).toContain(`<a href="${path.split('?')[0]}">Open the page without its filters</a>`)
  expect(text).not.toMatch(/Too |Invalid (?:input|option)|Unrecognized|openapi\.json/)
})

it('a skipped drill is listed as skipped and has no bar in the chart', async () => {
  const chartOf = (text: string) => /<svg.*<\/svg>/s.exec(text)?.[0]
  const before = chartOf((await get('/drills')).text)
  await recordUnheldDrill(servers.store, {
    id: 'drl_not_held',
    model,
    kind: 'nan',
    traffic: 'mirrored',
    requestedBy: 'olga',
    harmBudget: 50,
    message: `a release of ${model} is open`,
  })
  const { text } = await get('/drills')
  expect(text).toMatch(new RegExp(`skipped</span>.*a release of ${model} is open`, 's'))
  expect(before).toContain('lost-replica')
  expect(chartOf(text)).toBe(before)
})

describe('a key for another model', () => {
  it.each([at(''), at('/features'), at(`/versions/${champion}`)])('gets 403 for %s', async (path) =>
    expect((await get(path, 'elsewhere')).status).toBe(403),
  )
  it.each([
    `/data/${encodeURIComponent(snapshotOf(champion))}`,
    `/compare?one=${champion}&other=${champion}`,
  ])('gets 404 for %s, as for what does not exist', async (path) =>
    expect((await get(path, 'elsewhere')).status).toBe(404),
  )
  it.each(['/models', '/versions', '/data', '/alerts', '/drills', '/audit'])(
    'finds no row of this model in %s',
    async (path) => {
      const { status, text } = await get(path, 'elsewhere')
      expect(status).toBe(200)
      expect(text).not.toContain(model)
    },
  )
})

describe('a list', () => {
  const follow = async (from: string, found: RegExp): Promise<string[]> => {
    const seen: string[] = []
    for (let path: string | undefined = from; path !== undefined;) {
      const { text } = await get(path)
      seen.push(...[...text.matchAll(found)].map(([, each]) => each!))
      path = /<a href="([^"]+)" rel="next"/.exec(text)?.[1]?.replaceAll('&amp;', '&')
    }
    return seen
  }
  it.each([
    ['the versions of a model', at(''), 45],
    ['all versions, newest first', `/versions?model=${model}`, 45],
    ['all versions, best first', `/versions?model=${model}&order=auc`, 45],
  ])('of %s has each row once across its pages', async (_what, path, count) => {
    const seen = await follow(path, /<th scope="row"><a class="name" href="[^"]+">(late-trains_v[\d.]+)</g)
    expect(seen).toHaveLength(count)
    expect(new Set(seen).size).toBe(count)
  })
  it.each(['releases', 'retrainings', 'triggers', 'sweeps', 'data', 'drills', 'versions', 'alerts', 'audit'])(
    'at /%s says when its filter hides every row, and clears it',
    async (path) => {
      const { text } = await get(`/${path}?model=absent`)
      expect(text).toMatch(new RegExp(`No [a-z ]+ match\\. <a href="/${path}">Clear filters</a>`))
      expect(text).not.toContain(' yet.')
    },
  )
  it('of snapshots is filtered by one of the models', async () =>
    expect((await get(`/data?model=${model}`)).text).toContain(`<option value="${model}" selected="">`))
  it('of snapshots has each row once across its pages', async () => {
    const seen = await follow(`/data?model=${model}`, /class="code" href="(\/data\/[^"]+)"/g)
    expect(new Set(seen).size).toBe(45)
    expect(seen).toHaveLength(45)
  })
  it('of sweeps has each row once across its pages, which lead back', async () => {
    await servers.store.query(sql`
      insert into sweeps (id, model, requested_by, as_of, plan) select 'swp_old' || i, ${model}, 'olga', now(), '{}' from generate_series(1, 30) as i`)
    const seen = await follow(`/sweeps?model=${model}`, /href="(\/sweeps\/swp_\w+)"/g)
    expect([seen.length, new Set(seen).size]).toEqual([31, 31])
    expect((await get('/sweeps?page=2')).text).toContain('<a href="/sweeps?page=1" rel="prev">Newer</a>')
  })
  it('of the audit has each row once across its pages, also when filtered', async () => {
    await servers.store.transaction(async (database) => {
      for (let i = 0; i < 60; i++)
        await appendAudit(database, {
          actor: 'many',
          action: i % 2 === 0 ? 'test.even' : 'test.odd',
          subject: `s${i}`,
          detail: {},
        })
    })
    const rows = /<span title="hash \w+">(\d+)</g
    const all = await follow('/audit', rows)
    expect(all.map(Number)).toEqual(Array.from({ length: all.length }, (_, i) => all.length - i))
    expect(await follow('/audit?action=test.even', rows)).toHaveLength(30)
    expect(await follow('/audit?action=test.', rows)).toHaveLength(60)
    expect(await follow('/audit?actor=many&subject=s7', rows)).toHaveLength(1)
    expect((await get('/audit?actor=absent')).text).toContain('No entries match')
  })
})

describe('an alert', () => {
  const raise = (key: string) =>
    upsertAlert(servers.store, {
      dedupeKey: key,
      model,
      severity: 'warning',
      kind: 'drift_warn',
      message: key,
    })

  const sheet = `/alerts?model=${model}&kind=drift_warn`
  const act = (id: number, action: string, by: Parameters<typeof post>[2], reason = '') =>
    post('/alerts', { [`a${id}`]: 'on', action, reason }, by)

  it('shows its form to operators alone, and the server refuses other roles', async () => {
    const id = await raise('for operators')
    const form = 'action="/alerts"'
    expect((await get('/alerts')).text).not.toContain(`method="post" ${form}`)
    for (const path of ['/alerts', sheet]) expect((await get(path, 'operator')).text).toContain(form)
    expect((await act(id, 'acknowledge', 'viewer')).status).toBe(403)
    expect((await act(id, 'acknowledge', 'elsewhere')).status).toBe(404)
    const forged = await post(
      '/alerts',
      { [`a${id}`]: 'on', action: 'acknowledge' },
      'operator',
      'x'.repeat(43),
    )
    expect(forged.status).toBe(403)
  })
  it('is shortened on the overview, and whole on the sheet of its group, with the steps of its runbook', async () => {
    const message = `${'long '.repeat(40)}end`
    await upsertAlert(servers.store, {
      dedupeKey: message,
      model,
      severity: 'critical',
      kind: 'service_latency',
      message,
    })
    const { text } = await get('/')
    expect(text).toMatch(/long…</)
    expect(text).not.toContain(message)
    const href = `/alerts?model=${model}&amp;kind=service_latency`
    expect(text).toContain(`href="${href}"`)
    const shown = (await get(href.replace('&amp;', '&'))).text
    expect(shown).toContain(message)
    expect(shown).toMatch(/<h2 id="steps">What to do<\/h2>.*<ol>/s)
  })
  it('is acknowledged once and resolved once, and the audit has both', async () => {
    const id = await raise('acknowledged')
    const done = await act(id, 'acknowledge', 'operator', 'on it')
    expect([done.status, done.headers.get('location')]).toEqual([303, sheet])
    expect((await get(sheet, 'admin')).text).toMatch(/acknowledged by olga: on it/)
    const late = await act(id, 'acknowledge', 'admin')
    expect(late.status).toBe(409)
    expect(late.text).toContain(`Alert ${id} is acknowledged by olga.`)
    expect(late.text).not.toContain('See the release: ')
    expect((await act(id, 'resolve', 'admin', 'fixed')).status).toBe(303)
    const resolved = /<h2 id="resolved">.*$/s.exec((await get('/alerts')).text)![0]
    expect(resolved).toMatch(/Acknowledged by olga: on it<.*Resolved by root: fixed</s)
    expect(resolved).toContain('Resolved automatically')
    expect((await act(id, 'resolve', 'admin')).text).toMatch(
      /Alert \d+ was resolved at <time [^>]*>\d{4}-\d\d-\d\d\s\d\d:\d\d<\/time>\./,
    )
    const rows = await listAudit(servers.store, { limit: 10 })
    expect(
      rows.filter(({ subject }) => subject === `alert/${id}`).map(({ action, actor }) => [action, actor]),
    ).toEqual([
      ['alert.resolved', 'root'],
      ['alert.acknowledged', 'olga'],
    ])
  })
  it.each([
    [{ a999999999: 'on', action: 'resolve' }, 404],
    [{ ax: 'on', action: 'resolve' }, 400],
    [{ action: 'resolve' }, 400],
    [{ a1: 'on', action: 'forget' }, 400],
    [{ a1: 'on', action: 'toString' }, 400],
    [{ a1: 'on' }, 400],
    [{ a1: 'on', action: 'resolve', reason: 'x'.repeat(3_000) }, 400],
    [{ a1: 'on', action: 'resolve', reason: 'a log line \u001b[31m' }, 400],
  ])('posting %o is refused', async (form, status) =>
    expect((await post('/alerts', form as unknown as Record<string, string>, 'operator')).status).toBe(
      status,
    ),
  )
})

describe('several alerts', () => {
  const raise = (of: string, kind: 'release_rolled_back' | 'release_expired', place: number) =>
    upsertAlert(servers.store, {
      dedupeKey: `${kind} ${of} ${place}`,
      model: of,
      severity: 'warning',
      kind,
      message: `${kind} ${place}`,
    })
  const openOf = async (of: string, kind: string) =>
    (await listAlerts(servers.store, { model: of, open: true })).filter((alert) => alert.kind === kind)

  it('of one cause are one row and one acknowledgement, which a newer one that was not shown does not get', async () => {
    for (let place = 0; place < 8; place++) await raise('other', 'release_rolled_back', place)
    const { text } = await get('/alerts', 'operator')
    expect(text).toContain('other: release rolled back 8 times')
    const box =
      /<input type="checkbox" name="(a\d+)"[^>]*aria-label="Select other: release rolled back 8 times"/.exec(
        text,
      )![1]!
    const late = await raise('other', 'release_rolled_back', 8)
    const sent = await post(
      '/alerts',
      { [box]: 'on', action: 'acknowledge', reason: 'one cause' },
      'operator',
    )
    expect(sent.status).toBe(303)
    const open = await openOf('other', 'release_rolled_back')
    expect(open.filter(({ acknowledgedBy }) => acknowledgedBy === 'olga')).toHaveLength(8)
    expect(open.find(({ id }) => id === late)?.acknowledgedBy).toBeUndefined()
    expect((await get('/alerts?model=other&kind=release_rolled_back', 'operator')).text).toMatch(
      /8 of 9 acknowledged by olga.*Acknowledge<\/button>.*Resolve 9<\/button>/s,
    )
    // Another user acknowledges what is left, not what olga has.
    const rest = await post('/alerts', { [`a${late}`]: 'on', action: 'acknowledge' }, 'admin')
    expect(rest.status).toBe(303)
    const by = (await openOf('other', 'release_rolled_back')).map(({ acknowledgedBy }) => acknowledgedBy)
    expect(by.filter((name) => name === 'root')).toHaveLength(1)
    expect(by).toHaveLength(9)
  })

  it('of the installation have a sheet of their own beside those of models, and a filter stays when all are selected', async () => {
    // A sheet shows 20 alerts; those of models are newer.
    for (const [nth, of] of [undefined, ...Array<string>(20).fill('other'), model].entries())
      await upsertAlert(servers.store, {
        dedupeKey: `orphaned ${nth}`,
        ...(of !== undefined && { model: of }),
        severity: 'warning',
        kind: 'workflow_orphaned',
        message: `the workflow of ${of} does not run`,
      })
    const { text } = await get('/alerts?kind=workflow_orphaned', 'operator')
    expect(text).toContain('the workflow of undefined does not run')
    expect(text).not.toContain('the workflow of other does not run')
    expect(text).toContain('>Resolve</button>')
    const filtered = (await get('/alerts?model=other', 'operator')).text
    expect(filtered).toContain('<a href="/alerts?model=other&amp;select=all">Select all</a>')
  })

  it('of several groups are acknowledged with one form, all selected without a script', async () => {
    await raise('other', 'release_expired', 0)
    await raise(model, 'release_expired', 0)
    const { text } = await get('/alerts?select=all', 'operator')
    const boxes = [...text.matchAll(/<input type="checkbox" name="(a\d+)" value="on" checked/g)].map(
      ([, name]) => name!,
    )
    expect(boxes.length).toBeGreaterThanOrEqual(3)
    const fields = Object.fromEntries(boxes.map((name) => [name, 'on']))
    const sent = await post('/alerts', { ...fields, action: 'acknowledge' }, 'operator')
    expect([sent.status, sent.headers.get('location')]).toEqual([303, '/alerts'])
    const open = await listAlerts(servers.store, { open: true })
    const unassigned = open.filter(({ acknowledgedBy }) => acknowledgedBy === undefined)
    // What a release asks is no alert of this page.
    expect(new Set(unassigned.map(({ kind }) => kind))).toEqual(new Set(['approval_needed']))
    expect((await get('/alerts', 'operator')).text).toMatch(/<h1>\d+ open alerts, acknowledged<\/h1>/)
  })
})

describe('no open alerts', () => {
  it('are no sign of health while the control worker is silent', async () => {
    const calm = async () =>
      /<header class="sentence (\w+)"><h1>No open alert.*?<\/header>/s.exec(
        (await get('/alerts?model=other&kind=disk_full')).text,
      )!
    await writeDeliverySign(servers.store)
    expect((await calm())[0]).not.toContain('silent')
    await servers.store.query(
      sql`update service_state set at = now() - interval '1 minute' where name like '%deliver%'`,
    )
    expect((await calm())[0]).toContain('has been silent for more than 30 s')
  })

  it('are no sign of health of a model whose name is typed wrongly', async () => {
    await writeDeliverySign(servers.store)
    const header = async (name: string) =>
      /<header class="sentence \w+"><h1>.*?<\/h1>/s.exec((await get(`/alerts?model=${name}`)).text)?.[0]
    expect(await header('othre')).toBe('<header class="sentence warn"><h1>No model is named othre</h1>')
    await servers.register(irisSpec('quiet'))
    expect(await header('quiet')).toBe('<header class="sentence good"><h1>No open alerts of quiet</h1>')
  })
})

describe('a retraining with few positives', () => {
  it('says how many there are, how many are needed, and when they are expected at the rate of its rows', async () => {
    const id = `retrain/other/${randomUUID()}`
    const path = `/retrainings/${encodeURIComponent(id)}`
    const digest = snapshotOf('other_v1.0.0')
    const y = Array.from({ length: 1_500 }, (_, row) => Number(row < 61))
    const report = judgeGate(
      { y, champion: y.map(() => [0.1]), challenger: y.map(() => [0.2]), slices: [] },
      defaultGatePolicy('binary'),
    )
    expect(report.verdict).toBe('insufficient')
    const days = 30 * 86_400_000
    const columns = [{ column: snapshotColumns.eventAt, min: 0, max: days }]
    await servers.store.query(sql`
      insert into validations (id, model, snapshot_digest, verdict, report)
      values ('v-few', 'other', ${digest}, 'pass', ${JSON.stringify({ results: [], columns })})`)
    await servers.store.query(sql`
      insert into trainings (id, model, snapshot_digest, seed, code_digest, dependencies_digest, status)
      values ('t-few', 'other', ${digest}, 1, 'c', 'd', 'done')`)
    await servers.store.query(sql`
      insert into evaluations (id, model, training_id, snapshot_digest, artifact_digest, verdict, report, report_digest)
      values (${idsOfRow(id).evaluationId}, 'other', 't-few', ${digest}, 'a', ${report.verdict}, ${JSON.stringify(report)}, 'r')`)
    await servers.store.query(sql`
      insert into retrainings (id, model, reason, requested_by, as_of, outcome, message, started_at, ended_at)
      values (${id}, 'other', 'manual', 'olga', now(), 'insufficient', 'few', now() - interval '1 hour', now())`)
    const { text } = await get(path, 'operator')
    expect(text).toContain('<h1>other not released: 61 of 100 positives in the test rows</h1>')
    // Of 30 days, 61 positives: 100 need 50 days.
    expect(text).toContain('At the present rate, expected in about 20 d.')
    expect(text).toMatch(/href="\/models\/other\/retrain"[^>]*>Retrain…/)
    expect(text).toContain('href="/runbooks/insufficient"')
    expect((await get(path)).text).not.toContain('Retrain…')
    // Break-glass is offered to those who may use it, and where it is possible.
    const offered = async (name: Name) =>
      (await get(path, name)).text.includes(`tenure promote-now ${id} --reason`)
    expect([await offered('admin'), await offered('operator'), await offered('viewer')]).toEqual([
      true,
      false,
      false,
    ])
    const forbid = (breakGlass: boolean) =>
      servers.store.query(sql`
        update models set definition = jsonb_set(definition, '{evaluation,breakGlass}', to_jsonb(${breakGlass}::boolean)) where name = 'other'`)
    await forbid(false)
    expect(await offered('admin')).toBe(false)
    await forbid(true)
  })
})

describe('the audit verification', () => {
  it('is available to admins alone', async () => {
    expect((await get('/audit')).text).not.toContain('/audit/verification')
    expect((await get('/audit', 'admin')).text).toContain('/audit/verification')
    expect((await get('/audit/verification')).status).toBe(403)
  })
  it('reports its range, its result and its duration', async () => {
    const { text } = await get('/audit/verification', 'admin')
    expect(text).toMatch(/\d+ entries intact/)
    expect(text).toMatch(/entry \d+ back to entry 1/)
    expect(text).toMatch(/\d+ ms/)
  })
  it.each<[string, string, RegExp]>([
    ['changed', `update audit set actor = 'mallory' where seq = 3`, /row 3 has been changed/],
    ['deleted', `delete from audit where seq = 4`, /row 4 is missing, row 5 follows/],
    ['deleted at the beginning', `delete from audit where seq = 1`, /row 1 is missing, row 2 follows/],
  ])('finds a row that was %s', async (_change, statement, breach) => {
    await tampered(statement, async () => {
      const { text } = await get('/audit/verification', 'admin')
      expect(text).toContain('Audit log broken')
      expect(text).toMatch(breach)
    })
  })
  /** Tampers as the owner of the database, and restores the rows afterwards for the next case. */
  async function tampered(statement: string, look: () => Promise<void>): Promise<void> {
    const { store } = servers
    const guard = (word: string) => store.pool.query(`alter table audit ${word} trigger audit_is_append_only`)
    await guard('disable')
    await store.pool.query('create table audit_before as table audit')
    try {
      await store.pool.query(statement)
      await look()
    } finally {
      await store.pool.query('delete from audit')
      await store.pool.query('insert into audit select * from audit_before')
      await store.pool.query('drop table audit_before')
      await guard('enable always')
    }
  }
})

describe('the card of a version', () => {
  const card = (version: string, query = '') =>
    api.request('GET', `/v1/versions/${version}/card${query}`, {
      headers: { cookie: sessions.viewer.cookie },
    })

  it('has the same content as a page, as Markdown and as JSON', async () => {
    const { json } = await card(champion)
    expect(json).toMatchObject({ format: 'tenure-card@1', version: champion, status: 'champion' })
    const asked = new Map((json['asks'] as { name: string }[]).map((each) => [each.name, each]))
    expect(asked.get('hour')).toMatchObject({ range: '0 to 23', missing: 'rejected' })
    expect(asked.get('distance')).toMatchObject({ unit: 'km', missing: 'accepted' })
    const markdown = await card(champion, '?format=markdown')
    expect(markdown.headers.get('content-type')).toContain('text/markdown')
    expect(markdown.text).toContain(`# ${model}\\_v1.40.0`)
    // Markup behind a backslash is text.
    expect(markdown.text).not.toMatch(/(?<!\\)<img/)
    for (const limit of json['limits'] as string[])
      expect(markdown.text.replaceAll('\\', '')).toContain(limit)
  })
  it('of an unknown version, or in an unknown format, is refused', async () => {
    expect((await card('late-trains_v9.9.9')).json['code']).toBe('version_not_found')
    expect((await card(champion, '?format=pdf')).status).toBe(400)
  })
})

it('a model without versions shows the command that brings or trains the first, and the training while it runs', async () => {
  const definition = { isBrought: true, features: {}, label: { output: { kind: 'number' } } }
  await servers.store.query(sql`
    insert into models (name, definition, code_digest) values ('fed-by-hand', ${JSON.stringify(definition)}, 'c'),
      ('trained-here', ${JSON.stringify({ ...definition, isBrought: undefined })}, 'c')`)
  const told = ['--artifact FILE', 'retrain trained-here', 'A version is being trained']
  const counts = async (path: string) => {
    const { text } = await get(path)
    return told.map((each) => text.split(each).length - 1).join(' ')
  }
  const paths = ['/models/fed-by-hand', '/models/trained-here']
  expect(await Promise.all(paths.map(counts))).toEqual(['1 0 0', '0 1 0'])
  await servers.store.query(sql`insert into retrainings (id, model, reason, requested_by, as_of)
    values ('r/1', 'trained-here', 'manual', 'anna', now())`)
  expect(await Promise.all(paths.map(counts))).toEqual(['1 0 0', '0 0 1'])
  await servers.store.query(sql`delete from retrainings where id = 'r/1'`)
  await servers.store.query(sql`delete from models where name in ('fed-by-hand', 'trained-here')`)
})
