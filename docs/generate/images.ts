/**
 * Takes the screenshots of the documentation from the demo: every page and every state of a release, at the width of a phone, a laptop and
 * a large display, in light and dark. Start `npm start`, wait until the demo has ended, and run `node --import tsx docs/generate/images.ts [--only releases]
 * [--all DIRECTORY]`. `--all` also writes each width in light and dark, for review.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { Page } from 'playwright-core'
import { pageRegistry } from '../../api/dashboard/page-registry.ts'
import { createClient, type Client } from '../../cli/client/client.ts'
import { connectToApi, findConnection, findStateDir } from '../../cli/client/connection.ts'
import { openEvents } from '../../cli/demo/world.ts'
import { storyPolicy } from '../../cli/demo/retraining.ts'
import { startReplay } from '../../cli/demo/replay.ts'
import { getModel } from '../../store/registry/models.ts'
import { openStore } from '../../store/postgres.ts'
import { checkout, readCommandConfig } from '../../temporal.config.ts'
import {
  clippedParts,
  openSession,
  overflowPx,
  type BrowserSession,
} from '../../test/support/dashboard/browser-session.ts'
import { startBrowser } from '../../test/support/dashboard/browser.ts'

const { values } = parseArgs({ options: { only: { type: 'string' }, all: { type: 'string' } } })
const model = 'flight-delay'
const directory = join(checkout, 'docs', 'images')
const maxHeight = 2_600
/** Dates after the first demo run on which challengers are trained. */
const challengersOf = ['2001-06-18', '2001-05-28', '2001-03-19'].map((day) => `${day}T00:00:00Z`)
/** The documentation shows the first looks; the other three are for `--all`. */
const looks = [
  { name: 'light', dark: false, width: 1_280 },
  { name: 'dark', dark: true, width: 1_920 },
  { name: 'phone', dark: false, width: 390 },
] as const
const otherLooks = [
  { name: 'light-1920', dark: false, width: 1_920 },
  { name: 'dark-1280', dark: true, width: 1_280 },
  { name: 'dark-390', dark: true, width: 390 },
] as const

interface Scene {
  name: string
  path: string
  session: BrowserSession
  /** Height at which the screenshot is cut, in px. */
  most?: number
}

const wanted = (name: string) => values.only === undefined || name.includes(values.only)

/** Takes the page in each look as it is at that moment. */
async function take({ name, path, session: { page }, most }: Scene): Promise<void> {
  if (!wanted(name)) return
  await page.goto(path).catch(() => page.goto(path))
  await page.waitForLoadState('load')
  await shoot(page, name, most)
}

async function shoot(page: Page, name: string, most = maxHeight): Promise<void> {
  const client = await page.context().newCDPSession(page)
  const sizes: string[] = []
  for (const look of [...looks, ...(values.all === undefined ? [] : otherLooks)]) {
    // Without transitions, because a colour in the middle of one belongs to no theme.
    await page.emulateMedia({ colorScheme: look.dark ? 'dark' : 'light', reducedMotion: 'reduce' })
    await page.setViewportSize({ width: look.width, height: look.width === 390 ? 844 : 900 })
    const height = Math.min(most, await page.evaluate<number>('document.documentElement.scrollHeight'))
    await page.setViewportSize({ width: look.width, height: Math.max(height, 600) })
    const over = await overflowPx(page)
    const cut = [...(over > 0 ? [`${over} px wider than the screen`] : []), ...(await clippedParts(page))]
    if (cut.length > 0) {
      console.log(`${name} at ${look.width} px: ${cut.join('; ')}`)
      process.exitCode = 1
    }
    const { data } = await client.send('Page.captureScreenshot', { format: 'webp', quality: 60 })
    const bytes = Buffer.from(data, 'base64')
    const isShown = looks.some((each) => each.name === look.name)
    if (isShown) writeFileSync(join(directory, `${name}-${look.name}.webp`), bytes)
    if (isShown) sizes.push(`${look.name} ${Math.round(bytes.length / 1_024)} kB`)
    if (values.all !== undefined)
      await page.screenshot({ path: join(values.all, `${name}-${look.name}.png`) })
  }
  await client.detach()
  await page.setViewportSize({ width: 1_280, height: 900 })
  console.log(`${name}: ${sizes.join(', ')}`)
}

interface ReleaseRow {
  id: string
  version: string
  stage: string
  outcome?: string
  reason?: string
  artifact_digest: string
  evaluation_digest: string
  policy_digest: string
}

const releasesOf = async (api: Client): Promise<ReleaseRow[]> =>
  (await api.get<{ releases: ReleaseRow[] }>('/v1/releases', { model })).releases

async function until<T>(find: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await find()
    if (found !== undefined) return found
    await pause(500)
  }
}

const openRelease = async (api: Client): Promise<ReleaseRow | undefined> =>
  (await releasesOf(api)).find(({ outcome }) => outcome === undefined)

interface RetrainingRow {
  id: string
  as_of: string
  outcome?: string
}
const retrainingsOf = async (api: Client): Promise<RetrainingRow[]> =>
  (await api.get<{ retrainings: RetrainingRow[] }>('/v1/retrainings', { model })).retrainings

/** Retrains on the recorded flights before a day and waits for the end. */
async function retrain(api: Client, body: Record<string, unknown>): Promise<RetrainingRow> {
  const before = await retrainingsOf(api)
  await api.post(`/v1/models/${model}/retrainings`, body)
  return until(async () => {
    const [newest] = await retrainingsOf(api)
    return newest!.id !== before[0]!.id && newest!.outcome !== undefined ? newest : undefined
  })
}

async function keyOf(
  api: Client,
  { name, ...rest }: { name: string; role: string; models?: string[] },
): Promise<string> {
  // A second run on the same system needs another name.
  const { key } = await api.post<{ key: string }>('/v1/keys', {
    name: `${name}-${Date.now().toString(36)}`,
    ...rest,
  })
  return key
}

/** Sends the recorded flights as traffic until the returned function is called. */
async function startTraffic(api: Client, databaseUrl: string): Promise<() => Promise<void>> {
  const store = openStore(databaseUrl, { name: 'pictures', max: 1 })
  const { definition } = await getModel(store, model)
  await store.close()
  const events = await openEvents({ definition, routingKey: `origin || '-' || destination` })
  const replay = startReplay({
    urls: [api.url],
    key: await keyOf(api, { name: 'pictures', role: 'predictor' }),
    model,
    events: events.from(Date.UTC(2001, 2, 13)),
    pace: { requestsPerSecond: 150, everyNth: 1 },
  })
  return async () => {
    await replay.stop()
    await events.close()
  }
}

const api = connectToApi()
const local = findConnection(findStateDir(readCommandConfig()))
if (local?.key === undefined || local.url !== api.url)
  throw new Error(
    'the pictures are taken of `npm start` on this machine: start it, and wait until its story has ended',
  )
const rolledBack = (await releasesOf(api)).find(
  ({ outcome, reason = '' }) =>
    outcome === 'rolled_back' && /(?:canary requests (?:failed|invalid)|on its failed requests)/.test(reason),
)
if (rolledBack === undefined)
  throw new Error('the story of `npm start` has not ended: it rolls a version back')
mkdirSync(directory, { recursive: true })
if (values.all !== undefined) mkdirSync(values.all, { recursive: true })

const browser = await startBrowser()
try {
  const opened = async (key: string): Promise<BrowserSession> => {
    const session = await openSession(browser, { url: api.url })
    await session.signIn(key)
    return session
  }
  const admin = await opened(local.key)
  const scene = (name: string, path: string, session = admin) => take({ name, path, session })

  // The stages last long enough for a screenshot.
  const slow = storyPolicy.stages.map((stage) => ({ ...stage, minMs: 300_000, deadlineMs: 900_000 }))
  const awaits = async () => {
    const open = await openRelease(api)
    return open?.stage === 'awaiting_approval' ? open : undefined
  }
  // The data change from week to week, so the first challenger that passes the gate is used.
  for (const as_of of challengersOf) {
    if ((await openRelease(api)) !== undefined) break
    await retrain(api, {
      as_of,
      reason: 'the week of the incident',
      policy: { ...storyPolicy, stages: slow },
    })
  }
  const awaiting = await until(awaits)
  const approverKey = await keyOf(api, { name: 'ada', role: 'approver' })
  const ada = await opened(approverKey)
  await scene('state-awaiting', `/releases/${awaiting.id}`, ada)
  await ada.close()
  await scene('state-overview-awaiting', '/')
  const approver = createClient({ url: api.url, key: approverKey })
  await approver.post(`/v1/releases/${awaiting.id}/approve`, {
    reason: 'the fault is mended; gates and slices are in order',
    artifact_digest: awaiting.artifact_digest,
    evaluation_digest: awaiting.evaluation_digest,
    policy_digest: awaiting.policy_digest,
  })
  const stopTraffic = await startTraffic(api, local.databaseUrl)
  await until(async () => ((await openRelease(api))?.stage === 'canary' ? true : undefined))
  await pause(60_000)
  await scene('state-canary', `/releases/${awaiting.id}`)
  await scene('state-overview-canary', '/')

  const visitor = await openSession(browser, { url: api.url })
  await scene('sign-in', '/sign-in', visitor)
  await visitor.close()
  await scene('state-rolled-back', `/releases/${rolledBack.id}`)
  // The screenshot of the README.
  await take({ name: 'release-flight-delay', path: `/releases/${rolledBack.id}`, session: admin, most: 900 })
  await scene('state-empty', '/models/iris')
  const elsewhere = await opened(await keyOf(api, { name: 'iris-only', role: 'viewer', models: ['iris'] }))
  await scene('state-denied', `/models/${model}`, elsewhere)
  await elsewhere.close()

  const refused =
    (await retrainingsOf(api)).find(({ outcome }) => outcome === 'not_better') ??
    (await retrain(api, {
      as_of: challengersOf[0],
      reason: 'one epoch, to save time',
      hyperparameters: { epochs: 1, learningRate: 0.0005 },
    }))
  await scene('state-refused', `/retrainings/${encodeURIComponent(refused.id)}`)

  const champion = (await releasesOf(api)).find(({ outcome }) => outcome === 'promoted')
  const trained = (await retrainingsOf(api)).find(({ outcome }) => outcome === 'released')
  const snapshot = /\/data\/[^"]+/.exec(await (await admin.page.request.get('/data')).text())?.[0]
  const addresses: Record<string, string | undefined> = {
    '/releases/:id': `/releases/${champion!.id}`,
    '/releases/:id/simulation': `/releases/${rolledBack.id}/simulation`,
    '/retrainings/:id': `/retrainings/${encodeURIComponent(trained!.id)}`,
    '/sweeps/:id': undefined,
    '/models/:name': `/models/${model}`,
    '/models/:name/features': `/models/${model}/features`,
    '/models/:name/reviews': `/models/${model}/reviews`,
    '/models/:name/versions/:version': `/models/${model}/versions/${champion!.version}`,
    '/models/:name/versions/:version/card': `/models/${model}/versions/${champion!.version}/card`,
    '/versions': `/versions?model=${model}`,
    '/compare': `/compare?one=${champion!.version}&other=${rolledBack.version}`,
    '/data/:digest': snapshot,
    '/runbooks/:page': '/runbooks/release-rolled-back',
    '/search': '/search?q=flight',
  }
  for (const { path } of pageRegistry) {
    const address = path in addresses ? addresses[path] : path
    const name = path === '/' ? 'overview' : path.replaceAll(/^\/|:/g, '').replaceAll('/', '-')
    if (address !== undefined) await scene(name, address)
  }
  await stopTraffic()
  if (wanted('state-stale')) {
    await admin.page.goto('/')
    await admin.context.setOffline(true)
    await admin.page.getByText('Connection lost').waitFor()
    await shoot(admin.page, 'state-stale')
    await admin.context.setOffline(false)
  }
  await approver
    .post(`/v1/releases/${awaiting.id}/rollback`, { reason: 'the pictures are taken' })
    .catch(() => {})
  await admin.close()
} finally {
  await browser.close()
}
