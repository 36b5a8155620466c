/**
 * Tests every page of the dashboard in a real browser: screens, colours, sizes, keyboard, and what it shows without rows or rights.
 * approver.test.ts tests what users do on the pages.
 */
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { pageRegistry } from '../../../api/dashboard/page-registry.ts'
import { startBrowser } from '../../support/dashboard/browser.ts'
import {
  fitIssues,
  hasRunMarkup,
  issuesOfLooks,
  issuesOfPart,
  keyboardIssues,
  weigh,
  type BrowserSession,
} from '../../support/dashboard/browser-session.ts'
import {
  hostileMarkup,
  openDashboard,
  type DashboardFixture,
} from '../../support/dashboard/dashboard-fixture.ts'
import { keepNotice, loseConnection } from '../../support/dashboard/lost-connection.ts'
import { deniedPages, emptyAddresses, clockIssues } from '../../support/dashboard/page-texts.ts'
import { openSignedSessions, type SignedSessions } from '../../support/dashboard/signed-sessions.ts'
import { ownServers } from '../../support/servers/servers.ts'

let browser: Browser
let dashboard: DashboardFixture
let sessions: SignedSessions
let release: string
beforeAll(async () => {
  const [servers, started] = await Promise.all([ownServers(), startBrowser()])
  browser = started
  dashboard = await openDashboard(servers, { model: 'late-trains', hostile: hostileMarkup })
  sessions = openSignedSessions(browser, dashboard)
  release = await dashboard.release(dashboard.candidate)
})
afterAll(async () => {
  await browser?.close()
  await dashboard?.close()
})

it('every page fits each screen, reads well in light and dark, is small, and works with the keyboard alone', async () => {
  const session = await sessions.signedIn('root')
  const { page, problems } = session
  const cold = await session.context.newCDPSession(page)
  await cold.send('Network.enable')
  await cold.send('Network.setCacheDisabled', { cacheDisabled: true })
  const addresses = dashboard.pathsOfPages(release)
  // A new page with a parameter needs an address in `page-texts.ts`, so that this test visits it.
  expect(Object.keys(addresses).toSorted()).toEqual(pageRegistry.map(({ path }) => path).toSorted())
  const issues: string[] = []
  const notices = new Set<string>()
  for (const { path } of pageRegistry) {
    const weight = weigh(page)
    const answer = await page.goto(addresses[path]!, { waitUntil: 'load' })
    expect(answer?.status(), path).toBe(200)
    const { bytes, scriptBytes } = await weight()
    if (bytes > 120_000) issues.push(`${path}: ${bytes} bytes`)
    if (scriptBytes > 60_000) issues.push(`${path}: ${scriptBytes} bytes of scripts`)
    const statements = /statements;desc="(\d+)"/.exec(answer?.headers()['server-timing'] ?? '')?.[1]
    expect(Number(statements), path).toBeLessThanOrEqual(16)
    const lost = await page.evaluate<{ text: string; place: string } | undefined>(loseConnection)
    const found = [...(await issuesOfLooks(page, { notice: lost?.text })), ...(await keyboardIssues(page))]
    found.push(...clockIssues(await page.content(), 'UTC'))
    issues.push(...found.map((issue) => `${path}: ${issue}`))
    expect(await hasRunMarkup(page), path).toBe(false)
    if (lost === undefined) continue
    expect(lost.text, path).toContain('Connection lost')
    // The notice is the same on all pages and in the same place; its colours and names are checked on the first page.
    if (notices.has(lost.place)) continue
    notices.add(lost.place)
    await page.evaluate(keepNotice(lost.text))
    issues.push(...(await issuesOfPart(page, '#connection')).map((issue) => `${path}, stale: ${issue}`))
  }
  expect(issues).toEqual([])
  await page.goto(`/releases/${release}#gates`)
  expect(await page.locator('body').innerText()).toContain(hostileMarkup)
  expect(problems).toEqual([])
  await session.close()
})

it('every page is readable where it has nothing to show, and where the key may not see it', async () => {
  const issues: string[] = []
  const look = async (
    { page, problems }: BrowserSession,
    path: string,
    { states = [200], issuesOf = issuesOfLooks }: { states?: number[]; issuesOf?: typeof fitIssues } = {},
  ) => {
    const answer = await page.goto(path, { waitUntil: 'load' })
    expect(states, path).toContain(answer?.status())
    issues.push(...(await issuesOf(page)).map((issue) => `${path}: ${issue}`))
    expect(
      problems.filter((each) => !each.includes('404')),
      path,
    ).toEqual([])
  }
  const addresses = dashboard.pathsOfPages(release)
  const denied = deniedPages.map((path) => addresses[path]!)
  const nina = await sessions.signedIn('nina')
  for (const path of emptyAddresses) await look(nina, path)
  // The pages of a refusal differ in one sentence: one of them shows the colours of all.
  for (const [i, path] of denied.entries())
    await look(nina, path, { states: [403, 404], issuesOf: i === 0 ? issuesOfLooks : fitIssues })
  await nina.close()
  const ina = await sessions.signedIn('ina')
  for (const path of ['/', '/models']) await look(ina, path)
  expect(await ina.page.locator('main').innerText()).toContain('No models yet.')
  await ina.close()
  const vera = await sessions.signedIn('vera')
  await look(vera, `/retrainings/${encodeURIComponent(dashboard.refused)}`)
  expect(await vera.page.locator('main').innerText()).toMatch(
    /not released: AUC [\d.]+ vs [\d.]+\s[^]*; worst case −/,
  )
  await vera.close()
  expect(issues).toEqual([])
})

it('the contrast check finds a text with too little contrast in one scheme on one screen, and a text whose colours pass on another background', async () => {
  const { page, close } = await sessions.visited()
  const look = async (style: string) => {
    await page.setContent(`<!doctype html><html lang="en"><title>Look</title><style>
      body { background: #fff; color: #000 }
      @media (prefers-color-scheme: dark) { body { background: #000; color: #fff } }
      ${style}</style><main><h1>Look</h1><div></div><p>Text</p></main></html>`)
    return issuesOfLooks(page)
  }
  expect(await look('')).toEqual([])
  const wideAndDark = '(min-width: 1000px) and (prefers-color-scheme: dark)'
  expect(await look(`@media ${wideAndDark} { p { color: #333 } }`)).toEqual([
    expect.stringMatching(/^1280 px, dark: color-contrast: p /),
  ])
  expect(
    await look('div { position: absolute; inset: 0; background: #111 } p { position: relative }'),
  ).toEqual([
    expect.stringMatching(/^390 px, light: color-contrast: p /),
    expect.stringMatching(/^1280 px, light: color-contrast: p /),
  ])
  await close()
})

it('the keyboard check visits links again that were replaced while it went round', async () => {
  const { page, close } = await sessions.visited()
  const links = Array.from({ length: 5 }, (_, at) => `<a href="#${at}">Link ${at}</a>`).join('')
  await page.setContent(`<!doctype html><html lang="en"><title>Links</title><main>${links}</main></html>`)
  await page.evaluate(`document.addEventListener('focusin', ({ target }) => {
    if (target.hash === '#4') document.querySelector('main').innerHTML = ${JSON.stringify(links)}
  })`)
  expect(await keyboardIssues(page)).not.toEqual([])
  await page.setContent(`<!doctype html><html lang="en"><title>Links</title><main>${links}</main></html>`)
  await page.evaluate(`(() => {
    const replace = ({ target }) => {
      if (target.hash !== '#4') return
      document.removeEventListener('focusin', replace)
      document.querySelector('main').innerHTML = ${JSON.stringify(links)}
    }
    document.addEventListener('focusin', replace)
  })()`)
  expect(await keyboardIssues(page)).toEqual([])
  await close()
})
