/** Tests the page of a model in a real browser: its actions as sheets on a phone, with and without script, and their undo. */
import type { Browser } from 'playwright-core'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { modelActionNames, modelActions } from '../../../api/dashboard/pages/model/action-roles.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { findKillSwitch } from '../../../store/serving/kill-switches.ts'
import { startBrowser } from '../../support/dashboard/browser.ts'
import { issuesOfPart, openSession, type BrowserSession } from '../../support/dashboard/browser-session.ts'
import { openDashboard, type DashboardFixture } from '../../support/dashboard/dashboard-fixture.ts'
import { promote } from '../../support/serving/seed-champion.ts'
import { ownServers } from '../../support/servers/servers.ts'

let browser: Browser
let dashboard: DashboardFixture
let phone: BrowserSession
let path: string
const link = (name: string) => phone.page.getByRole('link', { name })
const sheet = () => phone.page.locator('dialog[open] #ask')
const buttonOf = (word: string) => sheet().getByRole('button', { name: word })
beforeAll(async () => {
  const [servers, started] = await Promise.all([ownServers(), startBrowser()])
  browser = started
  dashboard = await openDashboard(servers, { model: 'sheets' })
  path = `/models/${dashboard.model}`
  const { core, model, champion, candidate } = dashboard
  await core.store.query(sql`
    update versions set manifest = (select manifest from versions where version = ${champion}) where version = ${candidate}`)
  await promote(core.store, { model, first: champion, second: candidate })
  phone = await openSession(browser, { url: dashboard.url, width: 390, height: 844, touch: true })
  await phone.signIn(dashboard.keys.olga)
})
afterAll(async () => {
  await browser?.close()
  await dashboard?.close()
})

it.each(modelActionNames)(
  'the action %s opens as a sheet that fits a phone, and closes without a change',
  async (name) => {
    const { page } = phone
    await page.goto(path)
    await link(`${modelActions[name].word}…`).click()
    await sheet().waitFor()
    expect(await issuesOfPart(page, '#sheet')).toEqual([])
    const box = (await sheet().locator('button').boundingBox())!
    expect(Math.min(box.height, 44)).toBe(44)
    await link('Cancel').click()
    await page.locator('dialog#sheet:not([open])').waitFor({ state: 'attached' })
    expect(new URL(page.url()).pathname).toBe(path)
  },
)

it('a kill switch is set by four taps, and undone by one', async () => {
  const { page } = phone
  const serve = async () => (await findKillSwitch(dashboard.core.store, dashboard.model))?.serve
  await page.goto(path)
  await link('Kill switch…').click()
  await page.getByText('Refuse all requests').click()
  await page.getByText('Wrong inputs').click()
  await buttonOf('Set the kill switch').click()
  await page.getByText('Every live replica follows.').waitFor()
  expect(await serve()).toBe('refuse')
  await page.getByRole('button', { name: 'Undo' }).click()
  await page.getByText('Kill switch ended').waitFor()
  expect(await serve()).toBe('normal')
})

it('a retraining is started, and undone by one tap', async () => {
  const { page } = phone
  await page.goto(path)
  await link('Retrain…').click()
  await buttonOf('Start the retraining').click()
  await link('Follow it').waitFor()
  await page.getByRole('button', { name: 'Undo' }).click()
  await page.waitForURL(({ pathname }) => !pathname.endsWith('/retrain'))
  // Its page, or that of the model when it had no row yet.
  await page.locator('main h1').waitFor()
})

it('the champion is rolled back by three taps, and the page shows the version that serves then', async () => {
  const { page, problems } = phone
  await page.goto(path)
  await link('Roll back…').click()
  expect(await sheet().locator('.lead').innerText()).toMatch(/v1\.1\.0 → v1\.0\.0 · known good since/)
  // The sheet is on the screen as a whole.
  const box = (await buttonOf('Roll back to v1.0.0').boundingBox())!
  expect(box.y + box.height).toBeLessThanOrEqual(844)
  await page.getByText('Requests fail').click()
  await buttonOf('Roll back to v1.0.0').click()
  await page.getByText('Retrain for a new version').waitFor()
  expect(await page.locator('.champion h2').innerText()).toBe('v1.0.0')
  const { store } = dashboard.core
  expect((await findChampion(store, dashboard.model))?.version).toBe(dashboard.champion)
  expect(problems).toEqual([])
})

it('works without script, where no version is left to return to', async () => {
  const plain = await openSession(browser, { url: dashboard.url, scripts: false })
  await plain.signIn(dashboard.keys.olga)
  await plain.page.goto(path)
  await plain.page.getByRole('link', { name: 'Roll back…' }).click()
  await plain.page.getByText('is the only known good version').waitFor()
  await plain.page.getByRole('main').getByRole('link', { name: 'Kill switch…' }).click()
  await plain.page.getByLabel('Refuse all requests').check()
  await plain.page.getByLabel('Wrong inputs').check()
  await plain.page.getByRole('button', { name: 'Set the kill switch' }).click()
  await plain.page.getByRole('button', { name: 'Undo' }).click()
  await plain.page.getByText('Kill switch ended').waitFor()
  await plain.close()
})
