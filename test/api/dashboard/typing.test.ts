/** Tests in a real browser that a page stays where it is while its reader types. */
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openSession } from '../../support/dashboard/browser-session.ts'
import { startBrowser } from '../../support/dashboard/browser.ts'
import { openDashboard, type DashboardFixture } from '../../support/dashboard/dashboard-fixture.ts'
import { migratedDatabase, temporalAddress } from '../../support/servers/servers.ts'

let browser: Browser
let dashboard: DashboardFixture
let release: string
beforeAll(async () => {
  const [databaseUrl, started] = await Promise.all([migratedDatabase(), startBrowser()])
  browser = started
  dashboard = await openDashboard(
    { databaseUrl, temporalAddress: temporalAddress() },
    { model: 'typed-trains' },
  )
  release = await dashboard.release(dashboard.candidate)
})
afterAll(async () => {
  await browser?.close()
  await dashboard?.close()
})

it.each([390, 1_280])('typing into a field scrolls no page at %i px', async (width) => {
  const { page, problems, signIn, close } = await openSession(browser, {
    url: dashboard.url,
    width,
    height: 844,
  })
  await signIn(dashboard.keys.root)
  const issues: string[] = []
  let typed = 0
  for (const path of Object.values(dashboard.pathsOfPages(release))) {
    await page.goto(path, { waitUntil: 'load' })
    const field = page.locator('main :is(textarea, input:not([type])):visible').first()
    if ((await field.count()) === 0) continue
    typed++
    await field.click()
    const before = await page.evaluate<number>('scrollY')
    await page.keyboard.type('ten letter')
    const after = await page.evaluate<number>('scrollY')
    if (after !== before) issues.push(`${path}: ${before} → ${after}`)
  }
  expect(issues).toEqual([])
  expect(typed).toBeGreaterThan(7)
  expect(problems).toEqual([])
  await close()
})
