/**
 * Photographs ten pages of the dashboard at two widths, in light and dark, and lays the pictures of two commits beside each other:
 * `npm run bench -- looks --take DIRECTORY` on each commit, then `npm run bench -- looks --before DIRECTORY --after DIRECTORY`, which writes
 * one picture for each page to docs/images.
 */
import { randomUUID } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Browser } from 'playwright-core'
import { checkout } from '../../../temporal.config.ts'
import { fixturePolicy, openDashboard } from '../../../test/support/dashboard/dashboard-fixture.ts'
import { openSession } from '../../../test/support/dashboard/browser-session.ts'
import { startBrowser } from '../../../test/support/dashboard/browser.ts'
import { snapshotOf } from '../../../test/support/serving/registration.ts'
import { withServers } from '../../../test/support/servers/own-servers.ts'
import { fillTraffic } from '../harness/model-rows.ts'
import { readOptions } from '../harness/options.ts'
import { raiseFailing, raiseRollbacks, seedFailedData } from './night.ts'

const options = readOptions({ take: '', before: '', after: '' })
const names = [
  'overview',
  'release-awaiting',
  'release-canary',
  'release-rolled-back',
  'releases',
  'model',
  'version',
  'retraining',
  'alerts',
  'snapshot',
] as const
type Name = (typeof names)[number]
/** Each is cut at its height, in px. */
const looks = [
  { name: '1280-light', dark: false, width: 1_280, height: 1_400 },
  { name: '1280-dark', dark: true, width: 1_280, height: 1_400 },
  { name: '390-light', dark: false, width: 390, height: 1_400 },
  { name: '390-dark', dark: true, width: 390, height: 1_400 },
] as const
/** In px, of the pictures on a sheet; they are cut at a height. */
const sheet = { wide: 640, narrow: 316, maxHeight: 620, maxNarrowHeight: 900 }
const maxBytes = 250_000

const browser = await startBrowser()
try {
  if (options.take !== '') await takeAll(browser, options.take)
  else for (const name of names) await layOut(browser, name)
} finally {
  await browser.close()
}

async function takeAll(opened: Browser, directory: string): Promise<void> {
  mkdirSync(directory, { recursive: true })
  await withServers(async (servers) => {
    const dashboard = await openDashboard(servers, { model: 'flight-delay' })
    try {
      const { model, core, candidate, keys, url } = dashboard
      const { store } = core
      const { page, signIn } = await openSession(opened, { url })
      await signIn(keys.anna)
      const take = async (name: Name, path: string) => {
        await page.goto(path, { waitUntil: 'load' })
        for (const { name: look, dark, width, height } of looks) {
          await page.emulateMedia({ colorScheme: dark ? 'dark' : 'light', reducedMotion: 'reduce' })
          await page.setViewportSize({ width, height: 844 })
          const whole = await page.evaluate<number>('document.documentElement.scrollHeight')
          await page.setViewportSize({ width, height: Math.max(844, Math.min(height, whole)) })
          await page.screenshot({ path: join(directory, `${name}-${look}.png`) })
        }
      }
      const slow = fixturePolicy.stages.map((stage) => ({ ...stage, minRequests: 1_000_000 }))
      const release = await dashboard.release(candidate, { ...fixturePolicy, stages: slow })
      const onRelease = `/releases/${release}`
      await take('release-awaiting', onRelease)
      await page.getByRole('button', { name: 'Approve' }).click()
      const stop = dashboard.startTraffic()
      await page.getByText('Serving 10 % of traffic').first().waitFor()
      await pause(10_000)
      await take('release-canary', onRelease)
      await fetch(`${url}/v1${onRelease}/rollback`, {
        method: 'POST',
        headers: { authorization: `Bearer ${keys.anna}`, 'content-type': 'application/json' },
        body: JSON.stringify({ reason: '3 of 71 responses invalid' }),
      })
      await page
        .getByText(/Rolled back/i)
        .first()
        .waitFor()
      await stop()
      await take('release-rolled-back', onRelease)
      const run = randomUUID()
      await seedFailedData(store, { model, run })
      await raiseFailing(store, model)
      await raiseRollbacks(store, model, 7)
      await fillTraffic(store, model)
      await take('overview', '/')
      await take('model', `/models/${model}`)
      await take('releases', '/releases')
      await take('version', `/models/${model}/versions/${candidate}`)
      await take('retraining', `/retrainings/${encodeURIComponent(`retrain/${model}/${run}`)}`)
      await take('alerts', '/alerts')
      await take('snapshot', `/data/${encodeURIComponent(snapshotOf(model))}`)
    } finally {
      await dashboard.close()
    }
  })
}

/** Writes the sheet of a page: in each row the picture before and the one after, in light and dark. */
async function layOut(opened: Browser, name: Name): Promise<void> {
  const page = await opened.newPage({ viewport: { width: 1_304, height: 900 } })
  const picture = (directory: string, look: (typeof looks)[number]) => {
    const bytes = readFileSync(join(directory, `${name}-${look.name}.png`)).toString('base64')
    const isNarrow = look.width === 390
    const width = isNarrow ? sheet.narrow : sheet.wide
    const most = isNarrow ? sheet.maxNarrowHeight : sheet.maxHeight
    return `<div style="max-height: ${most}px"><img width="${width}" src="data:image/png;base64,${bytes}" alt=""></div>`
  }
  const pair = (look: (typeof looks)[number]) =>
    `<figure>${picture(options.before, look)}${picture(options.after, look)}</figure>`
  const [light, dark, phone, night] = looks
  await page.setContent(`<style>
    body { margin: 0; padding: 8px; background: #888 }
    main, figure { display: flex; gap: 8px; margin: 0 0 8px; align-items: start }
    div { overflow: hidden }
  </style>${pair(light)}${pair(dark)}<main>${pair(phone)}${pair(night)}</main>`)
  const client = await page.context().newCDPSession(page)
  const height = await page.evaluate<number>('document.documentElement.scrollHeight')
  await page.setViewportSize({ width: 1_304, height })
  for (let quality = 60; ; quality -= 10) {
    const { data } = await client.send('Page.captureScreenshot', { format: 'webp', quality })
    const bytes = Buffer.from(data, 'base64')
    if (bytes.length > maxBytes && quality > 10) continue
    writeFileSync(join(checkout, 'docs', 'images', `before-after-${name}.webp`), bytes)
    console.log(`${name}: ${Math.round(bytes.length / 1_024)} kB at quality ${quality}`)
    break
  }
  await page.close()
}
