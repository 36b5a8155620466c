/** Tests the actions on a model from its page: who is offered them, what a page shows before it asks, and what its form does. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { modelActionNames, modelActions } from '../../../api/dashboard/pages/model/action-roles.ts'
import { viewers } from '../../../api/http/route.ts'
import type { Role } from '../../../domain/roles.ts'
import { findChampion, listChampionHistory } from '../../../store/registry/champions.ts'
import { findKillSwitch } from '../../../store/serving/kill-switches.ts'
import { irisSpec } from '../../support/serving/artifact.ts'
import { writeChampion } from '../../support/serving/registration.ts'
import { uniqueName } from '../../support/servers/servers.ts'
import {
  openServingFixture,
  startApi,
  until,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let api: TestApi
let model: string
let versions: string[]
const sessions = new Map<Role, { cookie: string; token: string }>()
const browser = { accept: 'text/html', host: 'localhost' }
const form = { ...browser, 'content-type': 'application/x-www-form-urlencoded' }

beforeAll(async () => {
  fixture = await openServingFixture()
  const keys = new Map<Role, string>()
  for (const role of viewers) keys.set(role, await fixture.key({ role, name: `the-${role}` }))
  api = await startApi(fixture)
  for (const [role, key] of keys) {
    const body = new URLSearchParams({ key }).toString()
    const signed = await api.request('POST', '/sign-in', { body, headers: form })
    const cookie = signed.headers.get('set-cookie')!.split(';')[0]!
    const { text } = await api.request('GET', '/models', { headers: { ...browser, cookie } })
    sessions.set(role, { cookie, token: /name="token" value="([^"]+)"/.exec(text)![1]! })
  }
})
afterAll(async () => {
  await api?.stop()
  await fixture?.close()
})
/** Registers three versions that were champion in turn; the last one serves. */
beforeEach(async () => {
  model = uniqueName('model')
  versions = []
  for (const minor of [0, 1, 2]) versions.push(await fixture.register(irisSpec(model, minor + 1), minor))
  for (const version of versions) await writeChampion(fixture.store, model, version)
  await fixture.route(model, { proven: versions[2], standby: versions[1] })
  await until(() => api.serving.routing.find(model) !== undefined, 'the route')
})

const championNow = async () => (await findChampion(fixture.store, model))?.version
const get = (path: string, role: Role) =>
  api.request('GET', `/models/${model}${path}`, {
    headers: { ...browser, cookie: sessions.get(role)!.cookie },
  })
/** The hidden fields of the form of a page. */
const fieldsOf = (text: string): Record<string, string> =>
  Object.fromEntries(
    [...text.matchAll(/<input type="hidden" name="(?!token)(\w+)" value="([^"]*)"/g)].map(
      ([, name, value]) => [name, value],
    ),
  )
const send = (action: string, role: Role, fields: Record<string, string>) =>
  api.request('POST', `/models/${model}/${action}`, {
    body: new URLSearchParams({ token: sessions.get(role)!.token, ...fields }).toString(),
    headers: { ...form, cookie: sessions.get(role)!.cookie },
  })
const shown = async (action: string, role: Role = 'operator') =>
  fieldsOf((await get(`/${action}`, role)).text)

describe.each(viewers)('the page of a model for the role %s', (role) => {
  it.each(modelActionNames)(
    'offers the action %s, its page and its form exactly to the roles that may take it',
    async (name) => {
      const isAllowed = modelActions[name].allow.includes(role)
      const { text } = await get('', role)
      expect(text.includes(`href="/models/${model}/${name}"`)).toBe(isAllowed)
      expect((await get(`/${name}`, role)).status).toBe(isAllowed ? 200 : 403)
      // A choice that no form has: it is refused after the roles are checked, and changes nothing.
      const sent = await send(name, role, { once: 'x', choice: 'x'.repeat(101), reason: 'why' })
      expect(sent.status).toBe(isAllowed ? 400 : 403)
    },
  )
})

it.each(modelActionNames)(
  'the sheet of %s has one button, and a reason of one tap where it has one',
  async (name) => {
    const { text } = await get(`/${name}`, 'operator')
    const sheet = /<section class="card sheet" id="ask".*?<\/section>/s.exec(text)![0]
    expect(sheet.match(/<button/g)).toHaveLength(1)
    expect(sheet).toMatch(/<p class="lead"><strong>[^<]+<\/strong>/)
    expect(sheet.includes('name="why"')).toBe(sheet.includes('name="reason"'))
  },
)

it('a model without a champion offers neither a rollback nor a drill', async () => {
  model = uniqueName('model')
  await fixture.register(irisSpec(model, 1), 0)
  const { text } = await get('', 'operator')
  const offered = modelActionNames.filter((name) => text.includes(`href="/models/${model}/${name}"`))
  expect(offered).toEqual(['kill-switch', 'retrain'])
})

it.each(modelActionNames)('the form of %s needs the token of its session', async (name) => {
  const fields = { ...(await shown(name)), choice: 'refuse', reason: 'why', token: 'x'.repeat(43) }
  expect((await send(name, 'operator', fields)).status).toBe(403)
  expect(await championNow()).toBe(versions[2])
})

describe('a rollback from the page', () => {
  it('shows from → to with its evidence, requires a reason, and rolls back once however often it is sent', async () => {
    const [, second, third] = versions
    const auc = (version: string, value: number) =>
      fixture.store.query(
        sql`update versions set lineage = lineage || ${JSON.stringify({ metrics: { accuracy: value } })}::jsonb where version = ${version}`,
      )
    await auc(second!, 0.6985)
    await auc(third!, 0.6846)
    const { text } = await get('/rollback', 'operator')
    const words = text.replaceAll(/<[^>]*>/g, '').replaceAll(/\s+/g, ' ')
    expect(words).toMatch(
      /v1\.2\.0 → v1\.1\.0 · known good since \d{4}-\d\d-\d\d \d\d:\d\d · Accuracy 0\.6985 vs 0\.6846, other rows · v1\.2\.0 is never released again/,
    )
    expect(words).toContain('Roll back to v1.1.0')
    const fields = { ...fieldsOf(text), choice: 'rollback' }
    const blank = await send('rollback', 'operator', { ...fields, reason: ' ' })
    expect([blank.status, await championNow()]).toEqual([400, third])
    const done = await send('rollback', 'operator', { ...fields, reason: 'complaints' })
    expect([done.status, await championNow()]).toEqual([200, second])
    expect(done.text).toMatch(
      new RegExp(`Rolled back.*${third} is rolled back, ${second} serves.*Retrain for a new version`, 's'),
    )
    expect(done.text).not.toContain('>Undo<')
    const again = await send('rollback', 'operator', { ...fields, reason: 'complaints' })
    expect([again.status, await championNow()]).toEqual([200, second])
    expect(again.text).toContain('is rolled back already, nothing changed')
  })
  it('offers the champion of now after a rollback, and refuses a page whose target has changed', async () => {
    const [first, second, third] = versions
    const fields = { ...(await shown('rollback')), choice: 'rollback', reason: 'why' }
    await send('rollback', 'operator', fields)
    expect(await shown('rollback')).toMatchObject({ from: second, to: first })
    const stale = await send('rollback', 'operator', { ...fields, from: second!, to: third! })
    expect([stale.status, await championNow()]).toEqual([409, second])
    expect(stale.text).toContain(`${third} → ${first}`)
  })
  it('says that there is nothing to roll back to, and has no form', async () => {
    for (const _ of [1, 2])
      await send('rollback', 'operator', { ...(await shown('rollback')), choice: 'rollback', reason: 'why' })
    const { text } = await get('/rollback', 'approver')
    expect(text).toContain(`${versions[0]} is the only known good version of ${model}`)
    expect(text).toContain('The kill switch can refuse all requests. It needs the role operator or admin.')
    expect(text).not.toContain('name="choice"')
    const fallback = JSON.stringify({ fallback: { kind: 'answer', outputs: [1, 0, 0] } })
    await fixture.store.query(
      sql`update models set definition = definition || ${fallback}::jsonb where name = ${model}`,
    )
    expect((await get('/rollback', 'operator')).text).toMatch(
      new RegExp(`can serve by kill switch\\. *<a href="/models/${model}/kill-switch">`),
    )
  })
  it('takes a suggested reason, with what is added to it', async () => {
    const fields = { ...(await shown('rollback')), why: 'Requests fail', reason: 'half of them' }
    await send('rollback', 'operator', fields)
    const [change] = await listChampionHistory(fixture.store, model, 1)
    expect(change).toMatchObject({ cause: 'rollback', reason: 'Requests fail: half of them' })
  })
})

describe('a kill switch from the page', () => {
  it('is set and ended, each with its meaning and a reason', async () => {
    const { text } = await get('/kill-switch', 'operator')
    expect(text).toContain('Every request is refused with 503.')
    expect(text).not.toContain('value="fallback"')
    const set = await send('kill-switch', 'operator', {
      ...fieldsOf(text),
      choice: 'refuse',
      reason: 'bad data',
    })
    expect(set.text).toContain('Every request is refused with 503.')
    expect(await findKillSwitch(fixture.store, model)).toMatchObject({ serve: 'refuse', reason: 'bad data' })
    expect((await get('/kill-switch', 'admin')).text).toMatch(/Pinned to refuse.*the-operator: bad data/s)
    const ended = await send('kill-switch', 'operator', {
      ...(await shown('kill-switch')),
      choice: 'normal',
      reason: 'over',
    })
    expect(ended.status).toBe(200)
    expect(await findKillSwitch(fixture.store, model)).toMatchObject({ serve: 'normal' })
  })
  it('is undone from the notice, unless it has changed since', async () => {
    const set = await send('kill-switch', 'operator', {
      ...(await shown('kill-switch')),
      choice: 'refuse',
      why: 'Wrong inputs',
    })
    const notice = /<section class="notice.*?<\/section>/s.exec(set.text)![0]
    expect(notice).toContain('Undo')
    expect(notice).toContain(`action="/models/${model}/kill-switch"`)
    const undone = await send('kill-switch', 'operator', fieldsOf(notice))
    expect(undone.text).toContain('Kill switch ended')
    expect(await findKillSwitch(fixture.store, model)).toMatchObject({
      serve: 'normal',
      reason: 'undone: Wrong inputs',
    })
    expect((await send('kill-switch', 'operator', fieldsOf(notice))).status).toBe(409)
  })
  it('that was set meanwhile stays as it is', async () => {
    const fields = { ...(await shown('kill-switch')), reason: 'why' }
    await send('kill-switch', 'admin', { ...fields, choice: 'champion' })
    expect((await send('kill-switch', 'operator', { ...fields, choice: 'refuse' })).status).toBe(409)
    expect(await findKillSwitch(fixture.store, model)).toMatchObject({ serve: 'champion' })
  })
  it.each([{ choice: 'off' }, { choice: 'refuse', reason: '' }])('is refused with %o', async (wrong) => {
    const fields = { ...(await shown('kill-switch')), reason: 'why', ...wrong }
    expect((await send('kill-switch', 'operator', fields)).status).toBe(400)
  })
})

it('a retraining is queued, and a drill is refused, while Temporal does not respond', async () => {
  const queued = await send('retrain', 'operator', { ...(await shown('retrain')), choice: 'retrain' })
  expect([queued.status, queued.text]).toEqual([202, expect.stringContaining('Queued')])
  const drill = await send('drill', 'operator', { ...(await shown('drill')), choice: 'nan' })
  expect(drill.status).toBe(503)
})
