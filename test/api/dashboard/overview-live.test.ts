/** Tests the overview of a thousand models in a real browser: its size, its looks, and that only what has changed is swapped in. */
import type { Browser } from 'playwright-core'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { insertKey } from '../../../store/access/api-keys.ts'
import { issuesOfLooks, keyboardIssues, openSession } from '../../support/dashboard/browser-session.ts'
import { startBrowser } from '../../support/dashboard/browser.ts'
import { openDashboard, type DashboardFixture } from '../../support/dashboard/dashboard-fixture.ts'
import { ownServers } from '../../support/servers/servers.ts'

let browser: Browser
let dashboard: DashboardFixture
beforeAll(async () => {
  const [servers, started] = await Promise.all([ownServers(), startBrowser()])
  browser = started
  dashboard = await openDashboard(servers, { model: 'crowded-trains' })
  await dashboard.release(dashboard.candidate)
  const { store } = dashboard.core
  // Its age does not change while a test runs.
  await store.query(sql`update champions set since = now() - interval '90 minutes'`)
  const names = sql`(select 'model-' || lpad(i::text, 4, '0') as name, i from generate_series(1, 1000) as i) as made`
  await store.query(
    sql`insert into models (name, definition, code_digest) select name, '{}', 'c' from ${names}`,
  )
  await store.query(sql`
    insert into alerts (dedupe_key, model, severity, kind, message)
    select 'many/' || name, name, 'warning', 'service_latency', 'The 99th percentile is 320 ms, at most 200 ms is allowed.'
    from ${names} where i % 20 = 0`)
})
afterAll(async () => {
  await browser?.close()
  await dashboard?.close()
})

const pin = (model: string, serve: string) =>
  dashboard.core.store.query(sql`
    insert into kill_switches (model, serve, reason, actor, revision) values (${model}, ${serve}, 'r', 'olga', 1)
    on conflict (model) do update set serve = excluded.serve, at = now()`)
const ids = `[...document.querySelectorAll('.lines tbody tr')].map(({ id }) => id)`

it('weighs at most 30 KB with a thousand models, and reads well on each screen', async () => {
  const { page, problems, signIn, close } = await openSession(browser, { url: dashboard.url })
  await signIn(dashboard.keys.root)
  const answer = await page.goto('/', { waitUntil: 'load' })
  expect((await answer!.body()).length).toBeLessThanOrEqual(30_000)
  expect(await page.evaluate(`${ids}.length`)).toBe(30)
  expect(await issuesOfLooks(page)).toEqual([])
  expect(await keyboardIssues(page)).toEqual([])
  expect(problems).toEqual([])
  await close()
})

it('filters a list by the typed name of a model, because a thousand options would weigh more than the list', async () => {
  const { page, signIn, close } = await openSession(browser, { url: dashboard.url })
  await signIn(dashboard.keys.root)
  const answer = await page.goto('/alerts')
  expect((await answer!.text()).includes('<option')).toBe(false)
  await page.getByLabel('Model', { exact: true }).fill('model-0040')
  await page.getByRole('button', { name: 'Filter' }).click()
  await page.waitForURL(/model=model-0040/)
  expect(await page.locator('.alert-rows input').count()).toBe(1)
  await close()
})

it('swaps in what has changed, and leaves the other rows, the focus and the filter as they are', async () => {
  const { page, problems, signIn, close } = await openSession(browser, { url: dashboard.url })
  await signIn(dashboard.keys.root)
  const streamed = page.waitForRequest((request) => request.url().includes('/changes?'))
  await page.goto('/', { waitUntil: 'load' })
  await streamed
  const before = await page.evaluate<string[]>(ids)
  // A node that is swapped loses its mark.
  await page.evaluate(`document.querySelectorAll('.lines tbody tr').forEach((row) => (row.marked = true))`)
  await page.locator('#m-model-0020 th a').focus()
  const marked = `[...document.querySelectorAll('.lines tbody tr')].filter((row) => row.marked).map(({ id }) => id)`

  await pin('model-0040', 'refuse')
  await page.locator('#m-model-0040 .dot.bad').waitFor()
  const order = await page.evaluate<string[]>(ids)
  expect(order.indexOf('m-model-0040')).toBeLessThan(before.indexOf('m-model-0040'))
  expect(new Set(order)).toEqual(new Set(before))
  expect(await page.evaluate<string[]>(marked)).toEqual(order.filter((id) => id !== 'm-model-0040'))
  expect(await page.evaluate(`document.activeElement.getAttribute('href')`)).toBe('/models/model-0020')
  expect(await page.locator('#now').innerText()).toContain('model-0040 is pinned to refuse by olga')

  await page.locator('#q').pressSequentially('0777')
  await expect.poll(() => page.evaluate(ids)).toEqual(['m-model-0777'])
  await pin('model-0777', 'refuse')
  await page.locator('#m-model-0777 .dot.bad').waitFor()
  expect(await page.locator('#q').inputValue()).toBe('0777')
  expect(await page.evaluate(`document.activeElement.id`)).toBe('q')
  expect(problems).toEqual([])
  await close()
})

it('reloads itself while there is no stream', async () => {
  const { page, signIn, close } = await openSession(browser, { url: dashboard.url })
  await page.route('**/changes?*', (route) => route.abort())
  await signIn(dashboard.keys.root)
  await page.goto('/?q=0888', { waitUntil: 'load' })
  await pin('model-0888', 'refuse')
  await page.locator('#m-model-0888 .dot.bad').waitFor()
  await close()
})

it('filters and shows more without script', async () => {
  const { key } = await insertKey(dashboard.core.store, { name: 'reader', role: 'viewer' })
  const { page, signIn, close } = await openSession(browser, { url: dashboard.url, scripts: false })
  await signIn(key)
  await page.goto('/')
  await page.getByRole('link', { name: '30 more' }).click()
  expect(await page.locator('.lines tbody tr').count()).toBe(60)
  await page.locator('#q').fill('0999')
  await page.locator('#q').press('Enter')
  await page.waitForURL(/q=0999/)
  expect(await page.locator('.lines tbody tr').count()).toBe(1)
  await close()
})
