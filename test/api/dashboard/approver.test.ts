/** Tests the dashboard in a real browser, on a real replica with real workflows. */
import type { Browser, Page } from 'playwright-core'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { accessibilityIssues } from '../../support/dashboard/axe.ts'
import { startBrowser } from '../../support/dashboard/browser.ts'
import { migratedDatabase, temporalAddress } from '../../support/servers/servers.ts'
import {
  hostileMarkup,
  openDashboard,
  fixturePolicy,
  type DashboardFixture,
} from '../../support/dashboard/dashboard-fixture.ts'
import {
  hasRunMarkup,
  issuesOfLooks,
  keyboardIssues,
  overflowPx,
  openSession,
} from '../../support/dashboard/browser-session.ts'
import { clockIssues } from '../../support/dashboard/page-texts.ts'
import { openSignedSessions, type SignedSessions } from '../../support/dashboard/signed-sessions.ts'

let browser: Browser
let dashboard: DashboardFixture
let visited: SignedSessions['visited']
let signedIn: SignedSessions['signedIn']
let release: string
beforeAll(async () => {
  const [databaseUrl, started] = await Promise.all([migratedDatabase(), startBrowser()])
  browser = started
  dashboard = await openDashboard(
    { databaseUrl, temporalAddress: temporalAddress() },
    { model: 'late-trains', hostile: hostileMarkup },
  )
  ;({ visited, signedIn } = openSignedSessions(browser, dashboard))
  release = await dashboard.release(dashboard.candidate)
})
afterAll(async () => {
  await browser?.close()
  await dashboard?.close()
})

const releasePath = () => `/releases/${release}`

it('sign-in and the page of an unknown snapshot with its digest fit each screen in light and dark', async () => {
  const { page, signIn, close } = await visited()
  await page.goto('/sign-in')
  expect([...(await issuesOfLooks(page)), ...(await keyboardIssues(page))]).toEqual([])
  await signIn(dashboard.keys.anna)
  await page.goto(`/data/sha256:${'e868cc9d'.repeat(8)}`)
  expect([...(await issuesOfLooks(page)), ...(await keyboardIssues(page))]).toEqual([])
  await close()
})

it('the first Tab reaches the link that skips to the content', async () => {
  const session = await signedIn('vera')
  await session.page.goto('/releases')
  await session.page.keyboard.press('Tab')
  await session.page.keyboard.press('Enter')
  expect(await session.page.evaluate('document.activeElement.id')).toBe('main')
  await session.close()
})

it('the search finds a version with the keyboard alone', async () => {
  const { page, problems, close } = await signedIn('vera')
  await page.keyboard.press('Control+k')
  await page.keyboard.type(`${dashboard.candidate.slice(0, -1)}`)
  const dialog = page.getByRole('dialog', { name: 'Search' })
  await dialog.getByRole('link', { name: `version ${dashboard.candidate}` }).waitFor()
  expect(await accessibilityIssues(page)).toEqual([])
  await page.keyboard.press('ArrowDown')
  expect(await page.evaluate('document.activeElement.matches("#found a")')).toBe(true)
  await page.keyboard.press('ArrowUp')
  await page.keyboard.press('Enter')
  await page.waitForURL(/\/(models|releases)\//)
  await page.keyboard.press('Control+k')
  await page.keyboard.press('Escape')
  expect(await dialog.isVisible()).toBe(false)
  expect(problems).toEqual([])
  await close()
})

it('the explanation of a term appears for pointer, keyboard and touch, and links to the glossary', async () => {
  const path = releasePath()
  const opened = async (options?: { touch: boolean; width: number }) => {
    const session = options
      ? await openSession(browser, { url: dashboard.url, ...options })
      : await signedIn('vera', path)
    if (options) await session.signIn(dashboard.keys.vera, path)
    await session.page.goto(`${path}#gates`)
    const term = session.page.locator('#gates tbody a.term').first()
    const meaning = session.page.getByRole('tooltip')
    return { ...session, term, meaning, text: (await term.getAttribute('title'))! }
  }
  const pointer = await opened()
  expect(await pointer.meaning.isVisible()).toBe(false)
  await pointer.term.hover()
  await pointer.meaning.waitFor()
  expect(await pointer.meaning.innerText()).toBe(pointer.text)
  // It stays while the pointer is over it, and disappears on Escape.
  await pointer.meaning.hover()
  expect(await pointer.meaning.isVisible()).toBe(true)
  expect(await accessibilityIssues(pointer.page)).toEqual([])
  await pointer.page.keyboard.press('Escape')
  await pointer.meaning.waitFor({ state: 'hidden' })
  await pointer.page.mouse.move(0, 0)
  await pointer.term.focus()
  await pointer.meaning.waitFor()
  const described = pointer.page.locator('#gates tbody a.term[aria-describedby="meaning"]:not([title])')
  await described.waitFor()
  // The page reloads its parts meanwhile.
  await pointer.page.evaluate(reloadTerms)
  await described.waitFor()
  expect(await pointer.meaning.isVisible()).toBe(true)
  await pointer.page.keyboard.press('Enter')
  await pointer.page.waitForURL(/\/glossary#/)
  expect(pointer.problems).toEqual([])
  await pointer.close()
  const phone = await opened({ touch: true, width: 375 })
  await phone.term.tap()
  await phone.meaning.waitFor()
  expect(await phone.meaning.innerText()).toBe(phone.text)
  expect(await overflowPx(phone.page)).toBeLessThanOrEqual(0)
  expect(new URL(phone.page.url()).pathname).toBe(path)
  await phone.term.tap()
  await phone.page.waitForURL(/\/glossary#/)
  await phone.close()
})

/** Reloads the part of the page that contains the terms of its table. */
const reloadTerms = `new Promise((resolve) => {
  document.addEventListener('htmx:after:swap', () => setTimeout(resolve), { once: true })
  document.querySelector('#gates tbody a.term').closest('[hx-get]').dispatchEvent(new Event('changed'))
})`

it('times are in UTC without script, and else in the zone of the browser, also those that a reload brings', async () => {
  // With a hash, as a notification of an alert has.
  const path = `/models/${dashboard.model}#main`
  const textOf = async (zone: string, options: { timezone?: string; scripts?: boolean }) => {
    const { page, signIn, close } = await openSession(browser, { url: dashboard.url, ...options })
    await page.goto(path)
    await page.locator(`.zone[data-zone='${zone}']`).waitFor()
    // Only a code is taken from the address.
    expect(await page.getByLabel('API key').inputValue()).toBe('')
    await signIn(dashboard.keys.vera, path)
    expect(clockIssues(await page.content(), zone)).toEqual([])
    const since = page.locator('main time').first()
    const found = { header: await page.locator('.zone').innerText(), since: await since.innerText() }
    await page.goto('/')
    await page.evaluate(`document.querySelector('#overview').dispatchEvent(new Event('changed'))`)
    expect(clockIssues(await page.content(), zone)).toEqual([])
    await close()
    return { ...found, ms: Date.parse(`${found.since.replace('\u00a0', 'T')}:00Z`) }
  }
  const utc = await textOf('UTC', { scripts: false, timezone: 'Asia/Tokyo' })
  const far = await textOf('Asia/Tokyo', { timezone: 'Asia/Tokyo' })
  expect([utc.header, far.header]).toEqual(['UTC', 'GMT+9'])
  expect((far.ms - utc.ms) / 3_600_000).toBe(9)
})

it('times of the last hour in a table are relative, unless two of a column would be the same', async () => {
  const { page, signIn, close } = await openSession(browser, { url: dashboard.url })
  await signIn(dashboard.keys.vera, `/models/${dashboard.model}`)
  const texts = (agesMs: number[]) =>
    page.evaluate<string[]>(`(() => {
      const table = document.querySelector('td > time[data-shows=time]').closest('table')
      const row = table.querySelector('td > time').closest('tr')
      const times = ${JSON.stringify(agesMs)}.map((ageMs) => {
        const copy = row.cloneNode(true)
        const time = copy.querySelector('time')
        time.dateTime = new Date(Date.now() - ageMs).toISOString()
        return time
      })
      table.tBodies[0].replaceChildren(...times.map((time) => time.closest('tr')))
      document.dispatchEvent(new Event('htmx:after:swap'))
      return times.map(({ textContent }) => textContent.replace('\u00a0', ' '))
    })()`)
  expect(await texts([1_000, 300_000])).toEqual(['< 1 min ago', '5 min ago'])
  const [one, other, old] = await texts([301_000, 302_000, 480_000])
  expect([one, other]).toEqual(Array(2).fill(expect.stringMatching(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/)))
  expect(old).toBe('8 min ago')
  await close()
})

describe('a viewer', () => {
  it('reads the release without command buttons, and the server refuses a forged approval', async () => {
    const session = await signedIn('vera', releasePath())
    const { page } = session
    await page.getByRole('link', { name: 'Gates', exact: true }).click()
    await page.getByRole('heading', { name: 'Gates' }).waitFor()
    expect(await page.getByRole('button').allInnerTexts()).toEqual(['Sign out'])
    const token = await page.locator('input[name=token]').first().getAttribute('value')
    const forged = await page.request.post(`${releasePath()}/commands`, {
      form: { token: token!, command: 'approve', reason: 'forged', once: 'a', ...(await shownTo('anna')) },
      headers: { accept: 'text/html' },
    })
    expect(forged.status()).toBe(403)
    expect(await forged.text()).toContain('vera is a viewer')
    expect(session.problems).toEqual([])
    await session.close()
  })
})

it.each([true, false])(
  'each part of a release opens by its link and by its address, with scripts: %s',
  async (scripts) => {
    const { page, signIn, problems, close } = await openSession(browser, { url: dashboard.url, scripts })
    await signIn(dashboard.keys.anna, releasePath())
    const shown = () => page.locator('.panels > div:visible')
    expect(await shown().getAttribute('id')).toBe('evidence')
    for (const [name, heading] of Object.entries({
      Gates: 'Gates',
      Data: 'Data and drift',
      Plan: 'Rollout plan',
      Activity: 'Approvals and commands',
    })) {
      await page.getByRole('navigation', { name: 'Parts of the release' }).getByRole('link', { name }).click()
      await page.getByRole('heading', { name: heading }).waitFor()
      expect(await shown().count()).toBe(1)
      if (scripts) expect(await issuesOfLooks(page), name).toEqual([])
    }
    // The address of an element opens the part that contains it.
    await page.goto(`${releasePath()}#slices-heading`)
    expect(await shown().getAttribute('id')).toBe('gates')
    if (scripts) {
      await page.evaluate(reloadTerms)
      expect(await shown().getAttribute('id')).toBe('gates')
    }
    expect(problems).toEqual([])
    await close()
  },
)

/** Opens the reason beside the buttons and types it. */
async function giveReason(page: Page, reason: string): Promise<void> {
  await page.locator('summary', { hasText: 'Reason…' }).click()
  await page.locator('#reason-direct').fill(reason)
}

/** Reads the hidden fields of the form that this user sees. */
async function shownTo(who: keyof DashboardFixture['keys']): Promise<Record<string, string>> {
  const session = await signedIn(who, releasePath())
  const fields = await session.page.locator('#decide input[type=hidden]').all()
  const pairs = await Promise.all(
    fields.map(async (field) => [await field.getAttribute('name'), await field.getAttribute('value')]),
  )
  await session.close()
  return Object.fromEntries(pairs.filter(([name]) => name !== 'token' && name !== 'once')) as Record<
    string,
    string
  >
}

describe('an approver', () => {
  it('finds verdict, decision and what each button does on the first screen of a phone, without scrolling', async () => {
    const session = await signedIn('anna')
    const { page } = session
    await page.setViewportSize({ width: 390, height: 844 })
    await page.goto(releasePath())
    for (const part of [
      page.getByRole('region', { name: 'Verdict' }),
      page.getByText('Needs 1 approval by'),
      page.getByRole('button', { name: 'Approve' }),
      page.getByText('Starts canary 10 %'),
      page.locator('summary', { hasText: 'Reject…' }),
      page.getByText('Ends the release; production unchanged'),
    ]) {
      const box = await part.boundingBox()
      expect(box!.y).toBeGreaterThanOrEqual(0)
      expect(box!.y + box!.height).toBeLessThanOrEqual(844)
    }
    // What the message of the request says stands above the form.
    const { y: top } = (await page.locator('#decide').boundingBox())!
    for (const name of ['Gain', 'Worst slice', 'Data', 'Risk']) {
      const part = page.locator('.summary section', { has: page.getByRole('heading', { name }) })
      const box = (await part.boundingBox())!
      expect(box.y + box.height, name).toBeLessThanOrEqual(top)
    }
    expect(await page.locator('.summary').innerText()).toMatch(/Failure budget: 50/)
    expect(
      (await page.getByRole('button', { name: 'Approve' }).boundingBox())!.height,
    ).toBeGreaterThanOrEqual(44)
    await session.close()
  })

  it('sends a new command from a page that the back button has restored', async () => {
    const session = await signedIn('anna', releasePath())
    const once = () => session.page.locator('#decide input[name=once]').first().inputValue()
    const first = await once()
    await session.page.evaluate(
      `window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))`,
    )
    expect(await once()).not.toBe(first)
    expect((await once()).slice(0, 36)).toBe(first.slice(0, 36))
    await session.close()
  })

  it('approves with a reason and watches the canary; an outdated page is refused', async () => {
    const ben = await signedIn('ben', releasePath())
    const token = await ben.page.locator('input[name=token]').first().getAttribute('value')
    const blank = { token: token!, command: 'reject', reason: ' ', once: 'b', ...(await shownTo('anna')) }
    const refused = await ben.page.request.post(`${releasePath()}/commands`, { form: blank })
    expect(await refused.text()).toContain('The reason must not be empty')
    await giveReason(ben.page, 'looks good')
    const anna = await visited()
    await anna.page.goto('/')
    await anna.page.getByLabel('API key').fill('tnr_000000000000_wrong')
    await anna.page.getByRole('button', { name: 'Sign in' }).click()
    await anna.page.getByRole('alert').waitFor()
    await anna.signIn(dashboard.keys.anna)
    const { page } = anna
    await page
      .locator('#now')
      .getByRole('link', { name: `Approve… ${dashboard.candidate}` })
      .click()
    await page.getByText('Needs 1 approval by').waitFor()

    // The browser does not send a rejection without a reason.
    await page.locator('summary', { hasText: 'Reject…' }).click()
    await page.getByRole('button', { name: 'Reject' }).click()
    expect(new URL(page.url()).pathname).toBe(releasePath())
    await page.getByText('Needs 1 approval by').waitFor()
    await giveReason(page, `better where it matters ${hostileMarkup}`)
    await page.getByRole('button', { name: 'Approve' }).click()
    await page.getByText('Serving 10 % of traffic').waitFor()
    await page.getByRole('heading', { name: 'Candidate against control: canary 10 %' }).waitFor()
    await page.getByRole('link', { name: 'Activity', exact: true }).click()
    await page.getByRole('cell', { name: hostileMarkup }).first().waitFor()
    expect(await hasRunMarkup(page)).toBe(false)

    // Ben has typed a reason meanwhile: his page shows the change and keeps his text.
    await ben.page.getByText('This release has changed').waitFor()
    await ben.page.getByRole('button', { name: 'Approve' }).click()
    await ben.page.getByRole('heading', { name: 'Page out of date' }).waitFor()
    expect(await ben.page.locator('main').innerText()).toContain('Stage: awaiting approval → canary, stage 1')
    expect(await ben.page.getByLabel('Your reason, to copy').inputValue()).toBe('looks good')
    expect(await ben.page.getByRole('link', { name: 'Alerts' }).count()).toBe(1)
    expect(await issuesOfLooks(ben.page)).toEqual([])
    expect(await said('ben')).toBe(0)

    // The page updates through events: while the stream is open, every reload follows an event.
    expect(await page.evaluate('document.querySelector("#release").dataset.stream')).toBe(
      `${releasePath()}/changes`,
    )
    const [stream] = await Promise.all([
      page.waitForResponse((response) => response.url().endsWith('/changes')),
      page.reload(),
    ])
    expect(stream.headers()['content-type']).toBe('text/event-stream')

    const stopTraffic = dashboard.startTraffic()
    await page.getByRole('heading', { name: /^Promoted/ }).waitFor()
    await page.getByText(/Left \S+ as champion/).waitFor()
    await stopTraffic()
    expect(await issuesOfLooks(page), 'promoted').toEqual([])
    expect([...anna.problems, ...ben.problems]).toEqual([])
    await anna.close()
    await ben.close()
  })

  it('pauses, resumes and rolls back from the same page, and sees the reason of a refused command', async () => {
    const next = await dashboard.registry.register(dashboard.candidate)
    release = await dashboard.release(next, pausing)
    const anna = await signedIn('anna', releasePath())
    const { page } = anna
    const press = async (name: string) => {
      if (name === 'Roll back') {
        await page.locator('summary', { hasText: 'Roll back…' }).click()
        await page.getByText('Wrong data', { exact: true }).click()
        await page.locator('#reason-stop').fill('again')
      } else await giveReason(page, `because of ${name}`)
      await page.getByRole('button', { name, exact: true }).click()
    }
    await page.getByRole('button', { name: 'Approve' }).waitFor()
    await press('Approve')
    await page.getByRole('button', { name: 'Pause' }).waitFor()
    const other = await signedIn('anna', releasePath())
    await giveReason(other.page, 'once more')
    const stopTraffic = dashboard.startTraffic()
    await page.locator('.tiles.evidence').waitFor()
    await stopTraffic()
    expect(await issuesOfLooks(page), 'canary live').toEqual([])
    await press('Pause')
    await page.getByRole('button', { name: 'Resume' }).waitFor()
    expect(await issuesOfLooks(page), 'paused').toEqual([])

    await other.page.getByRole('button', { name: 'Pause' }).click()
    await other.page.getByRole('heading', { name: 'Not done' }).waitFor()
    expect(await other.page.locator('main').innerText()).toContain('already paused by anna')
    await other.close()

    await press('Resume')
    await page.getByRole('button', { name: 'Pause' }).waitFor()
    await press('Roll back')
    await page.getByRole('heading', { name: /^Rolled back by anna/ }).waitFor()
    await page.getByRole('heading', { name: 'What happened' }).waitFor()
    // The page of the open release loads itself again when the release ends; that of an ended one does not.
    await page.goto(releasePath())
    expect(await issuesOfLooks(page), 'rolled back').toEqual([])
    await page.goto('/')
    expect(await issuesOfLooks(page), 'overview after a rollback').toEqual([])
    const file = async (name: string) => page.request.get(`${releasePath()}/${name}`)
    const draft = await file('post-mortem.md')
    expect(draft.headers()['content-disposition']).toBe(`attachment; filename="post-mortem-${next}.md"`)
    expect(await draft.text()).toMatch(
      /# Post-mortem: .* rolled back\n[^]*## What was seen\n\nrolled back by anna: Wrong data: again\n/,
    )
    expect((await (await file('exposed.csv')).text()).split('\n')[0]).toBe(
      'prediction_id,at,instances,latency_us,routing_key,failure,message,inputs',
    )
    expect(anna.problems).toEqual([])
    await anna.close()
  })

  it('learns what to decide when a stage has ended without enough evidence', async () => {
    release = await dashboard.release(await dashboard.registry.register(dashboard.candidate), asking)
    const stopTraffic = dashboard.startTraffic()
    const { page, problems, close } = await signedIn('anna', releasePath())
    await page.getByRole('button', { name: 'Approve' }).click()
    await page.getByRole('heading', { name: /^Decision needed/ }).waitFor()
    await stopTraffic()
    expect(await issuesOfLooks(page), 'decision needed').toEqual([])
    await page.goto('/')
    await page.locator('#now').getByText('needs a decision').first().waitFor()
    expect(await issuesOfLooks(page), 'overview with a decision').toEqual([])
    // A rollback after which the version may be released again is an abort.
    await page.goto(releasePath())
    await page.locator('summary', { hasText: 'Roll back…' }).click()
    expect(await issuesOfLooks(page), 'rollback opened').toEqual([])
    await page.getByLabel('may be released again').check()
    await page.getByText('Wrong data', { exact: true }).click()
    await page.getByRole('button', { name: 'Roll back', exact: true }).click()
    await page.getByRole('heading', { name: 'Aborted by anna: Wrong data' }).waitFor()
    expect(problems).toEqual([])
    await close()
  })
})

/** The policy of a canary that lasts seconds. */
const watch = { ...fixturePolicy.watch, tickMs: 500, everyMs: 500 }

/** A policy whose first stage has too little traffic at its deadline, so that an approver decides. */
const asking = {
  ...fixturePolicy,
  watch,
  stages: [{ ...fixturePolicy.stages[0]!, minRequests: 1_000_000, deadlineMs: 2_000 }],
}

/** A policy whose first stage never ends by itself. */
const pausing = {
  ...fixturePolicy,
  watch,
  stages: [{ ...fixturePolicy.stages[0]!, minRequests: 1_000_000 }],
}

async function said(who: string): Promise<number> {
  const rows = await dashboard.core.store.query(
    sql`select 1 from commands where actor = ${who} and release_id is not null`,
  )
  return rows.length
}
