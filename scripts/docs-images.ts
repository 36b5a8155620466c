/**
 * Takes the pictures of the documents: each dashboard page in light, dark and phone width, with a release in progress.
 * `npm run docs:images [-- --only releases] [--png DIRECTORY]`
 *
 * The picture of the README is a release of the demonstration, taken from the running system:
 * `TENURE_KEY=… npm run docs:images -- --running http://127.0.0.1:7800 --page /releases/rel_… --name release-flight-delay --height 900`
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { pageRegistry } from '../api/dashboard/page-registry.ts'
import { startBrowser } from '../test/support/dashboard/browser.ts'
import { withServers } from '../test/support/servers/own-servers.ts'
import { openDashboard, fixturePolicy } from '../test/support/dashboard/dashboard-fixture.ts'
import { openSession, type BrowserSession } from '../test/support/dashboard/browser-session.ts'
import { checkout, readCommandConfig } from '../temporal.config.ts'

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    png: { type: 'string' },
    running: { type: 'string' },
    page: { type: 'string', default: '/' },
    name: { type: 'string', default: 'page' },
    height: { type: 'string', default: '2600' },
  },
})
const directory = join(checkout, 'docs', 'images')
const looks = [
  { name: 'light', dark: false, width: 1_280 },
  { name: 'dark', dark: true, width: 1_280 },
  { name: 'phone', dark: false, width: 390 },
] as const

const maxHeight = Number(values.height)

if (values.png !== undefined) mkdirSync(values.png, { recursive: true })
if (values.running === undefined) await takeAll()
else await takeOne(values.running)

async function takeOne(url: string): Promise<void> {
  const browser = await startBrowser()
  try {
    for (const look of looks) {
      const session = await openSession(browser, { url, ...look })
      await session.signIn(readCommandConfig().key ?? '')
      await take(session, values.page, { name: values.name, look: look.name })
      await session.close()
    }
  } finally {
    await browser.close()
  }
}

async function takeAll(): Promise<void> {
  await withServers(async (servers) => {
    const browser = await startBrowser()
    const dashboard = await openDashboard(servers)
    try {
      dashboard.startTraffic()
      const slow = fixturePolicy.stages.map((stage) => ({ ...stage, minMs: 4_000, minRequests: 60 }))
      const release = await dashboard.release(dashboard.candidate, { ...fixturePolicy, stages: slow })
      const addresses = { ...dashboard.pathsOfPages(release), '/sign-in': '/sign-in' }
      const names = ['/sign-in', ...pageRegistry.map(({ path }) => path)].filter(
        (path) => path in addresses && (values.only === undefined || path.includes(values.only)),
      )
      mkdirSync(directory, { recursive: true })
      for (const look of looks) {
        const session = await openSession(browser, { url: dashboard.url, ...look })
        if (names.includes('/sign-in')) await take(session, '/sign-in', { name: 'sign-in', look: look.name })
        await session.signIn(dashboard.keys.anna)
        // Approved in the first look, so that the other pages show a release in progress.
        for (const path of names.filter((each) => each !== '/sign-in')) {
          const name = path === '/' ? 'overview' : path.replaceAll(/^\/|:/g, '').replaceAll('/', '-')
          await take(session, addresses[path as keyof typeof addresses]!, { name, look: look.name })
        }
        if (look.name === 'light') await approve(session, release)
        await session.close()
      }
    } finally {
      await browser.close()
      await dashboard.close()
    }
  })
}

async function approve({ page }: BrowserSession, release: string): Promise<void> {
  await page.goto(`/releases/${release}`)
  await page.getByLabel('Reason').fill('Better where it matters; the evening slice was looked at.')
  await page.getByRole('button', { name: 'Approve' }).click()
  await page.getByText('canary 50 %').first().waitFor({ timeout: 60_000 })
}

/** WebP, a tenth of the size of PNG. */
async function take(
  { page }: BrowserSession,
  address: string,
  { name, look }: { name: string; look: string },
) {
  await page.goto(address).catch(() => page.goto(address))
  await page.waitForLoadState('load')
  const { width } = page.viewportSize()!
  const height = Math.min(maxHeight, await page.evaluate<number>('document.documentElement.scrollHeight'))
  await page.setViewportSize({ width, height: Math.max(height, look === 'phone' ? 700 : 600) })
  const client = await page.context().newCDPSession(page)
  const { data } = await client.send('Page.captureScreenshot', { format: 'webp', quality: 70 })
  await client.detach()
  const file = join(directory, `${name}-${look}.webp`)
  writeFileSync(file, Buffer.from(data, 'base64'))
  if (values.png !== undefined) await page.screenshot({ path: join(values.png, `${name}-${look}.png`) })
  await page.setViewportSize({ width, height: 900 })
  console.log(`${file} ${Math.round((data.length * 3) / 4 / 1_024)} KB`)
}
