/**
 * Measures how long users need for the tasks of a person on call, on a phone screen in a real browser: `npm run bench -- walks`. A step costs the
 * page's time, measured, and the reader's time, estimated by the keystroke-level model: 1.35 s to decide, 1.1 s per tap, 0.28 s per key, and
 * four words per second.
 */
import { randomUUID } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import type { Page } from 'playwright-core'
import { checkout } from '../../../temporal.config.ts'
import {
  fixturePolicy,
  openDashboard,
  type DashboardFixture,
} from '../../../test/support/dashboard/dashboard-fixture.ts'
import { openSession } from '../../../test/support/dashboard/browser-session.ts'
import { startBrowser } from '../../../test/support/dashboard/browser.ts'
import { promote } from '../../../test/support/serving/seed-champion.ts'
import { withServers } from '../../../test/support/servers/own-servers.ts'
import { fillModels, fillTraffic } from '../harness/model-rows.ts'
import { raiseFailing, raiseRollbacks, seedFailedData } from './night.ts'

const pictures = join(checkout, 'docs', 'images')
const decideMs = 1_350
const tapMs = 1_100
const keyMs = 280
const wordMs = 250

interface WalkStep {
  name: string
  /** What the user taps or types; absent for reading alone. */
  act?: (page: Page) => Promise<void>
  keys?: number
  taps?: number
  /**
   * The text that answers the question; the step ends when it is visible and its words are read. Finding it is part of the time to decide.
   */
  reads: (page: Page) => ReturnType<Page['locator']>
}

interface Walk {
  name: string
  task: string
  /** What the same task took on the pages of 27 November 2026, by the same model; absent where it was not measured. */
  before?: string
  limitMs: number
  from: string
  /** Brings about what the task is about, and is not timed. */
  prepare?: () => Promise<unknown>
  steps: WalkStep[]
}

const lastTuesday = (): string => {
  const day = new Date()
  day.setUTCDate(day.getUTCDate() - ((day.getUTCDay() + 5) % 7 || 7))
  return `${day.toISOString().slice(0, 10)} 14:00`
}

const tap =
  (role: 'button' | 'link', name: string | RegExp, { last = false } = {}): NonNullable<WalkStep['act']> =>
  async (page) => {
    const found = page.getByRole(role, { name, exact: typeof name === 'string' })
    await (last ? found.last() : found.first()).click()
  }
const region =
  (name: string): WalkStep['reads'] =>
  (page) =>
    page.getByRole('region', { name })
const at =
  (selector: string): WalkStep['reads'] =>
  (page) =>
    page.locator(selector)
/** The line of the overview that says so; the last of the page is the oldest. */
const changeOf =
  (name: RegExp): WalkStep['reads'] =>
  (page) =>
    page
      .locator('#changes li')
      .filter({ has: page.getByRole('link', { name }) })
      .last()
/** The entry of what needs someone now. */
const nowOf =
  (text: string): WalkStep['reads'] =>
  (page) =>
    page.locator('#now li').filter({ hasText: text })
const tapNow =
  (text: string): NonNullable<WalkStep['act']> =>
  (page) =>
    nowOf(text)(page).locator('a.button').click()

/** Ends a release from its form: the red button, a reason of one tap, and the button that sends it. */
const stopSteps = (word: 'Reject' | 'Roll back', ended: string): WalkStep[] => [
  {
    name: 'form',
    act: (page) => page.locator('summary', { hasText: word }).click(),
    taps: 1,
    reads: (page) => page.locator('#does-reject, #does-rollback'),
  },
  {
    name: 'reason',
    act: (page) => page.getByText('Callers report errors', { exact: true }).last().click(),
    taps: 1,
    reads: (page) => page.getByText('Callers report errors', { exact: true }).last(),
  },
  {
    name: ended,
    act: tap('button', word),
    taps: 1,
    reads: (page) => page.locator('h1', { hasText: ended }),
  },
]

const acknowledgeSteps = (said: string): WalkStep[] => [
  { name: 'overview', reads: nowOf(said) },
  { name: 'alert', act: tapNow(said), taps: 1, reads: at('.sentence h1') },
  {
    name: 'acknowledged',
    act: tap('button', /^Acknowledge/),
    taps: 1,
    reads: (page) => page.locator('.sentence p', { hasText: 'acknowledged by anna' }),
  },
]

/** In this order: each walk leaves the state in which the next one begins. */
async function walksOf(dashboard: DashboardFixture): Promise<(() => Promise<Walk>)[]> {
  const { model, core, candidate, champion, registry } = dashboard
  const { store } = core
  const slow = {
    ...fixturePolicy,
    stages: fixturePolicy.stages.map((stage) => ({ ...stage, minRequests: 1_000_000 })),
  }
  const bad = await registry.register(champion)
  await copyReport(dashboard, bad)
  const failedRun = randomUUID()
  const failedData = `a[href*="${failedRun}"]`
  let release = ''
  const onModel = (path = '') => `/models/${model}${path}`
  const walk = (made: Walk) => () => Promise.resolve(made)
  return [
    async () => ({
      name: 'refuse',
      task: 'Refuse a release',
      before: '2 taps and text, 15 s',
      limitMs: 30_000,
      from: `/releases/${await dashboard.release(bad, slow)}`,
      steps: [{ name: 'verdict', reads: region('Verdict') }, ...stopSteps('Reject', 'Rejected')],
    }),
    async () => {
      release = await dashboard.release(candidate, slow)
      return {
        name: 'approve',
        task: 'Approve a release, knowing why',
        before: '1 tap, up to 5.3 screens, 19 to 85 s',
        limitMs: 30_000,
        from: `/releases/${release}`,
        steps: [
          { name: 'verdict', reads: region('Verdict') },
          {
            name: 'gain, worst slice, data, risk',
            reads: (page) => page.getByRole('group', { name: 'What the decision rests on' }),
          },
          {
            name: 'approved',
            act: tap('button', 'Approve'),
            taps: 1,
            reads: (page) => page.getByText('Serving 10 % of traffic'),
          },
        ],
      }
    },
    async () => ({
      name: 'stop',
      task: 'Roll back a release by hand',
      before: '2 taps and text, 14 s',
      limitMs: 30_000,
      from: `/releases/${release}`,
      steps: [{ name: 'verdict', reads: at('[data-stage] h1') }, ...stopSteps('Roll back', 'Rolled back')],
    }),
    walk({
      name: 'rolled-back',
      task: 'Why did the last rollback happen?',
      before: '2 taps, 1.4 screens, 18 s; no cause',
      limitMs: 20_000,
      from: '/',
      steps: [
        { name: 'overview', reads: changeOf(/rolled back/) },
        {
          name: 'release',
          act: tap('link', /rolled back/, { last: true }),
          taps: 1,
          reads: region('Verdict'),
        },
      ],
    }),
    walk({
      name: 'live',
      task: 'What is live, since when, and who put it there?',
      before: '0 taps, 6 s',
      limitMs: 20_000,
      from: '/',
      steps: [
        { name: 'version', reads: at(`#m-${model}`) },
        { name: 'since, who', act: tap('link', model), taps: 1, reads: at('.figures > div') },
      ],
    }),
    walk({
      name: 'live-at',
      task: 'Which version was live last Tuesday at 14:00?',
      limitMs: 20_000,
      from: '/',
      steps: [
        {
          name: 'model',
          act: tap('link', model),
          taps: 1,
          reads: (page) => page.getByRole('heading', { name: 'Live at a point in time' }),
        },
        {
          name: 'answer',
          async act(page) {
            await page.locator('#at').fill(lastTuesday())
            await page.locator('#at').press('Enter')
          },
          taps: 1,
          keys: 17,
          reads: (page) => page.locator('section', { has: page.locator('#at') }),
        },
      ],
    }),
    walk({
      name: 'refused',
      task: 'Why was the challenger refused?',
      limitMs: 20_000,
      from: '/',
      steps: [
        { name: 'overview', reads: changeOf(/retraining: failed the gate/) },
        {
          name: 'retraining',
          act: tap('link', /retraining: failed the gate/, { last: true }),
          taps: 1,
          reads: at('#retraining .sentence'),
        },
      ],
    }),
    walk({
      name: 'failed-data',
      task: 'Which data failed validation?',
      before: 'not answered: no figures, no link to the rows',
      limitMs: 30_000,
      from: '/',
      prepare: () => seedFailedData(store, { model, run: failedRun }),
      steps: [
        { name: 'overview', reads: at(`#changes li:has(${failedData})`) },
        {
          name: 'retraining',
          act: (page) => page.locator(`#changes ${failedData}`).click(),
          taps: 1,
          reads: at('#retraining .sentence h1'),
        },
        { name: 'failed checks', reads: at('#retraining .scroll') },
      ],
    }),
    walk({
      name: 'wrong',
      task: 'What is wrong now?',
      before: 'not answered: old rollbacks first',
      limitMs: 30_000,
      from: '/',
      prepare: async () => {
        await seedSuccessor(dashboard)
        await raiseFailing(store, model)
        // With that of the walk before, eight.
        await raiseRollbacks(store, model, 7)
        await fillTraffic(store, model)
      },
      steps: [
        { name: 'worst', reads: at('#sentence') },
        { name: 'all that needs someone', reads: at('#now') },
      ],
    }),
    walk({
      name: 'acknowledge',
      task: 'Acknowledge an alert',
      before: '2 taps, 8 s',
      limitMs: 30_000,
      from: '/',
      steps: acknowledgeSteps('quality lost'),
    }),
    walk({
      name: 'acknowledge-eight',
      task: 'Acknowledge eight alerts of one cause',
      before: '2 taps each, 8 note fields',
      limitMs: 30_000,
      from: '/',
      steps: acknowledgeSteps('8 times'),
    }),
    walk({
      name: 'roll-back',
      task: 'Roll back the champion',
      before: 'impossible from a page',
      limitMs: 20_000,
      from: onModel(),
      steps: [
        { name: 'sheet', act: tap('link', 'Roll back…'), taps: 1, reads: at('#ask .lead') },
        {
          name: 'reason',
          act: (page) => page.getByText('Requests fail').click(),
          taps: 1,
          reads: (page) => page.getByText('Requests fail'),
        },
        { name: 'rolled back', act: tap('button', /^Roll back to/), taps: 1, reads: at('.notice.done p') },
      ],
    }),
    walk({
      name: 'live-of-500',
      task: 'What is live, of 500 models?',
      before: 'search, or 177.6 screens',
      limitMs: 20_000,
      from: '/',
      prepare: () => fillModels(store, 498).then(() => fillTraffic(store)),
      steps: [
        {
          name: 'filtered',
          act: (page) => page.locator('#q').pressSequentially('0321'),
          taps: 1,
          keys: 4,
          reads: at('#m-model-0321'),
        },
      ],
    }),
  ]
}

/** How many screens the reader has to scroll until the end of the answer stands above the form that covers the bottom, or in it. */
async function screensAway(page: Page, answer: ReturnType<Page['locator']>): Promise<number> {
  const box = (await answer.boundingBox())!
  const bar = await page
    .locator('#decide')
    .first()
    .boundingBox({ timeout: 1_000 })
    .catch(() => null)
  const isInBar = await answer.evaluate(
    (part: { closest: (selector: string) => unknown }) => part.closest('#decide') !== null,
  )
  const height = (isInBar ? undefined : bar?.y) ?? page.viewportSize()!.height
  return Math.max(0, (box.y + box.height - height) / height)
}

/** The words that only a screen reader has. */
const wordsAloud = async (answer: ReturnType<Page['locator']>): Promise<number> =>
  (await answer.locator('.aloud').allInnerTexts()).join(' ').split(/\s+/).filter(Boolean).length

interface Walked {
  summary: string
  steps: string[]
}

async function walk(page: Page, { name, task, before = '', limitMs, from, steps }: Walk): Promise<Walked> {
  await page.goto(from)
  const rows: string[] = []
  const total = { ms: 0, taps: 0, screens: 0 }
  for (const [i, { name: step, act, taps = 0, keys = 0, reads }] of steps.entries()) {
    const startedMs = performance.now()
    await act?.(page)
    const answer = reads(page).first()
    await answer.waitFor()
    const pageMs = performance.now() - startedMs
    const screens = await screensAway(page, answer)
    const words = (await answer.innerText()).split(/\s+/).length - (await wordsAloud(answer))
    const readerMs = decideMs + taps * tapMs + keys * keyMs + words * wordMs
    total.ms += pageMs + readerMs
    total.taps += taps
    total.screens += screens
    const file = `walk-${name}-${i + 1}.webp`
    const client = await page.context().newCDPSession(page)
    const { data } = await client.send('Page.captureScreenshot', { format: 'webp', quality: 60 })
    await client.detach()
    writeFileSync(join(pictures, file), Buffer.from(data, 'base64'))
    rows.push(
      `| ${i === 0 ? task : ''} | ${step} | ${taps} | ${words} | ${screens.toFixed(1)} | ${(pageMs / 1_000).toFixed(1)} | ${(readerMs / 1_000).toFixed(1)} |`,
    )
  }
  if (total.ms > limitMs) process.exitCode = 1
  const seconds = `**${(total.ms / 1_000).toFixed(1)}** of ${limitMs / 1_000}`
  return {
    summary: `| ${task} | ${before} | ${total.taps} | ${total.screens.toFixed(1)} | ${seconds} |`,
    steps: rows,
  }
}

/** The second version has the evaluation of the candidate. */
async function copyReport({ core, candidate }: DashboardFixture, version: string): Promise<void> {
  await core.store.query(sql`
    update evaluations set report = other.report, page = other.page from evaluations as other
    where evaluations.id = ${`e-${version}`} and other.id = ${`e-${candidate}`}`)
}

/** Seeds a second champion, with a metric of both. */
async function seedSuccessor({ core, model, champion, registry }: DashboardFixture): Promise<void> {
  const second = await registry.register(champion)
  const auc = (version: string, value: number) =>
    core.store.query(sql`
    update versions set lineage = lineage || ${JSON.stringify({ metrics: { auc: value } })}::jsonb,
      manifest = (select manifest from versions as other where other.version = ${champion}) where version = ${version}`)
  await auc(champion, 0.6985)
  await auc(second, 0.6846)
  await promote(core.store, { model, first: champion, second })
}

await withServers(async (servers) => {
  mkdirSync(pictures, { recursive: true })
  const dashboard = await openDashboard(servers, { model: 'flight-delay' })
  const browser = await startBrowser()
  try {
    // A release of ten days ago.
    await dashboard.core.store.query(sql`
      update champion_history set at = now() - interval '10 days' where version = ${dashboard.champion}`)
    const { page, signIn, problems } = await openSession(browser, {
      url: dashboard.url,
      width: 390,
      height: 844,
    })
    page.setDefaultTimeout(30_000)
    await signIn(dashboard.keys.anna)
    const walked: Walked[] = []
    for (const make of await walksOf(dashboard)) {
      const next = await make()
      await next.prepare?.()
      walked.push(await walk(page, next))
    }
    console.log(
      [
        '| task | before | taps | screens | s |',
        '|---|---|---|---|---|',
        ...walked.map(({ summary }) => summary),
        '',
        '| task | step | taps | words | screens | page, s | reader, s |',
        '|---|---|---|---|---|---|---|',
        ...walked.flatMap(({ steps }) => steps),
      ].join('\n'),
    )
    if (problems.length > 0) throw new Error(problems.join('\n'))
  } finally {
    await browser.close()
    await dashboard.close()
  }
})
