/**
 * Measures how long users need to answer five questions on a phone screen in a real browser: `npm run bench:walks`. A step costs the page's
 * time, measured, and the reader's time, estimated by the keystroke-level model: 1.35 s to decide, 1.1 s per tap, 0.28 s per key, and four
 * words per second.
 */
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
  question: string
  limitMs: number
  from: string
  steps: WalkStep[]
}

const lastTuesday = (): string => {
  const day = new Date()
  day.setUTCDate(day.getUTCDate() - ((day.getUTCDay() + 5) % 7 || 7))
  return `${day.toISOString().slice(0, 10)} 14:00`
}

/** The line of the overview that says so; the last of the page is the oldest. */
const changeOf =
  (name: RegExp): WalkStep['reads'] =>
  (page) =>
    page
      .locator('#changes li')
      .filter({ has: page.getByRole('link', { name }) })
      .last()

const walksOf = ({ model, release }: { model: string; release: string }): Walk[] => [
  {
    name: 'approve',
    question: 'Approve a release after seeing its evidence',
    limitMs: 30_000,
    from: `/releases/${release}`,
    steps: [
      { name: 'verdict', reads: (page) => page.getByRole('region', { name: 'Verdict' }) },
      {
        name: 'gain, worst slice, data, risk',
        reads: (page) => page.getByRole('group', { name: 'What the decision rests on' }),
      },
      {
        name: 'approved',
        act: (page) => page.getByRole('button', { name: 'Approve' }).click(),
        taps: 1,
        reads: (page) => page.getByText('Serving 10 % of traffic'),
      },
    ],
  },
  {
    name: 'rolled-back',
    question: 'Why did the last rollback happen?',
    limitMs: 20_000,
    from: '/',
    steps: [
      { name: 'overview', reads: changeOf(/rolled back/) },
      {
        name: 'release',
        act: (page) =>
          page
            .getByRole('link', { name: /rolled back/ })
            .last()
            .click(),
        taps: 1,
        reads: (page) => page.getByRole('region', { name: 'Verdict' }),
      },
    ],
  },
  {
    name: 'live-at',
    question: 'Which version was live last Tuesday at 14:00?',
    limitMs: 20_000,
    from: '/',
    steps: [
      {
        name: 'model',
        act: (page) => page.getByRole('link', { name: model, exact: true }).first().click(),
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
  },
  {
    name: 'refused',
    question: 'Why was the challenger refused?',
    limitMs: 20_000,
    from: '/',
    steps: [
      { name: 'overview', reads: changeOf(/retraining: not better/) },
      {
        name: 'retraining',
        act: (page) =>
          page
            .getByRole('link', { name: /retraining: not better/ })
            .last()
            .click(),
        taps: 1,
        reads: (page) => page.locator('#retraining .sentence'),
      },
    ],
  },
  {
    name: 'roll-back',
    question: 'Roll back the champion',
    limitMs: 20_000,
    from: `/models/${model}`,
    steps: [
      {
        name: 'sheet',
        act: (page) => page.getByRole('link', { name: 'Roll back…' }).click(),
        taps: 1,
        reads: (page) => page.locator('#ask .lead'),
      },
      {
        name: 'reason',
        act: (page) => page.getByText('Requests fail').click(),
        taps: 1,
        reads: (page) => page.getByText('Requests fail'),
      },
      {
        name: 'rolled back',
        act: (page) => page.getByRole('button', { name: /^Roll back to/ }).click(),
        taps: 1,
        reads: (page) => page.locator('.notice.done p'),
      },
    ],
  },
]

/** How many screens the reader has to scroll until the end of the answer stands above the form that covers the bottom. */
async function screensAway(page: Page, answer: ReturnType<Page['locator']>): Promise<number> {
  const box = (await answer.boundingBox())!
  const bar = await page
    .locator('#decide')
    .first()
    .boundingBox({ timeout: 1_000 })
    .catch(() => null)
  const height = bar?.y ?? page.viewportSize()!.height
  return Math.max(0, (box.y + box.height - height) / height)
}

async function walk(page: Page, { name, question, limitMs, from, steps }: Walk): Promise<string[]> {
  await page.goto(from)
  const rows: string[] = []
  let totalMs = 0
  for (const [i, { name: step, act, taps = 0, keys = 0, reads }] of steps.entries()) {
    const startedMs = performance.now()
    await act?.(page)
    const answer = reads(page).first()
    await answer.waitFor()
    const pageMs = performance.now() - startedMs
    const screens = await screensAway(page, answer)
    const words = (await answer.innerText()).split(/\s+/).length
    const readerMs = decideMs + taps * tapMs + keys * keyMs + words * wordMs
    totalMs += pageMs + readerMs
    const file = `walk-${name}-${i + 1}.webp`
    const client = await page.context().newCDPSession(page)
    const { data } = await client.send('Page.captureScreenshot', { format: 'webp', quality: 60 })
    await client.detach()
    writeFileSync(join(pictures, file), Buffer.from(data, 'base64'))
    rows.push(
      `| ${i === 0 ? question : ''} | ${step} | ${taps} | ${screens.toFixed(1)} | ${(pageMs / 1_000).toFixed(1)} | ${(readerMs / 1_000).toFixed(1)} | |`,
    )
  }
  rows.push(`| | **total** | | | | | **${(totalMs / 1_000).toFixed(1)} s of ${limitMs / 1_000} s** |`)
  if (totalMs > limitMs) process.exitCode = 1
  return rows
}

/** Seeds a challenger that was refused, and a champion of ten days ago. */
async function seedPast({ core, model, champion }: DashboardFixture): Promise<void> {
  const message = 'Not released: AUC 0.6492 vs 0.6521; worst case −0.0092, limit −0.0050'
  await core.store.query(sql`
    insert into retrainings (id, model, reason, requested_by, as_of, outcome, message, started_at, ended_at)
    values (${`retrain/${model}/2`}, ${model}, 'schedule', 'schedule', now(), 'not_better', ${message}, now() - interval '2 hours', now() - interval '1 hour')`)
  await core.store.query(
    sql`update champion_history set at = now() - interval '10 days' where version = ${champion}`,
  )
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
    await seedPast(dashboard)
    const slow = fixturePolicy.stages.map((stage) => ({ ...stage, minRequests: 1_000_000 }))
    const release = await dashboard.release(dashboard.candidate, { ...fixturePolicy, stages: slow })
    const { page, signIn, problems } = await openSession(browser, {
      url: dashboard.url,
      width: 390,
      height: 844,
    })
    await signIn(dashboard.keys.anna)
    const [first, ...rest] = walksOf({ model: dashboard.model, release })
    const rows = await walk(page, first!)
    await page.locator('summary', { hasText: 'Roll back' }).click()
    await page.locator('#reason-stop').fill('3 of 71 responses invalid')
    await page.getByRole('button', { name: 'Roll back', exact: true }).click()
    await page.getByRole('heading', { name: 'What happened' }).waitFor()
    for (const each of rest.slice(0, -1)) rows.push(...(await walk(page, each)))
    await seedSuccessor(dashboard)
    rows.push(...(await walk(page, rest.at(-1)!)))
    console.log(
      [
        '| question | step | taps | screens | page, s | reader, s | |',
        '|---|---|---|---|---|---|---|',
        ...rows,
      ].join('\n'),
    )
    if (problems.length > 0) throw new Error(problems.join('\n'))
  } finally {
    await browser.close()
    await dashboard.close()
  }
})
