/** The way of an approver through a real browser, on a real replica with real workflows. */
import type { Browser } from 'playwright-core'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { places } from '../../../api/dashboard/page-registry.ts'
import { startBrowser } from '../../support/dashboard/browser.ts'
import { migratedDatabase, temporalAddress } from '../../support/servers/servers.ts'
import { markup, openScene, scenePolicy, type Scene } from '../../support/dashboard/dashboard-fixture.ts'
import { barriers, isHurt, overhang, visit, type Visit } from '../../support/dashboard/browser-session.ts'

const patienceMs = 30_000
/** Of a whole story, and of starting and ending it, on a machine that is busy with others. */
const storyMs = 180_000

let browser: Browser
let scene: Scene
let release: string
beforeAll(async () => {
  const [databaseUrl, started] = await Promise.all([migratedDatabase(), startBrowser()])
  browser = started
  scene = await openScene({ databaseUrl, temporalAddress: temporalAddress() }, { hostile: markup })
  release = await scene.release(scene.candidate)
}, storyMs)
afterAll(async () => {
  await browser?.close()
  await scene?.close()
}, storyMs)

const visited = () => visit(browser, { url: scene.url })
const signedIn = async (who: keyof Scene['keys'], path = '/'): Promise<Visit> => {
  const guest = await visited()
  await guest.signIn(scene.keys[who], path)
  return guest
}
const releasePath = () => `/releases/${release}`

it(
  'every page can be used by everybody, fits a phone, takes no text for markup and asks nobody else',
  async () => {
    const guest = await signedIn('root')
    const { page, wrong } = guest
    const addresses = scene.addresses(release)
    const pages = places.filter(({ path }) => addresses[path] !== undefined)
    expect(pages.length).toBeGreaterThanOrEqual(3)
    for (const { path } of pages) {
      const answer = await page.goto(addresses[path]!)
      expect(answer?.status(), path).toBe(200)
      const statements = /statements;desc="(\d+)"/.exec(answer?.headers()['server-timing'] ?? '')?.[1]
      expect(Number(statements), path).toBeLessThanOrEqual(14)
      expect(await barriers(page), path).toEqual([])
      await page.setViewportSize({ width: 375, height: 800 })
      expect(await overhang(page), path).toBeLessThanOrEqual(0)
      await page.setViewportSize({ width: 1_280, height: 900 })
      expect(await isHurt(page), path).toBe(false)
    }
    await page.goto(releasePath())
    expect(await page.locator('body').innerText()).toContain(markup)
    expect(wrong).toEqual([])
    await guest.close()
  },
  storyMs,
)

it('in dark, and before sign-in, nothing is hard to read', async () => {
  const dark = await visit(browser, { url: scene.url, dark: true })
  await dark.page.goto('/sign-in')
  expect(await barriers(dark.page)).toEqual([])
  await dark.signIn(scene.keys.anna, releasePath())
  expect(await barriers(dark.page)).toEqual([])
  await dark.page.goto('/nothing-here')
  expect(await barriers(dark.page)).toEqual([])
  await dark.close()
})

it('the first key of the keyboard leads to the content', async () => {
  const guest = await signedIn('vera')
  await guest.page.goto('/releases')
  await guest.page.keyboard.press('Tab')
  await guest.page.keyboard.press('Enter')
  expect(await guest.page.evaluate('document.activeElement.id')).toBe('main')
  await guest.close()
})

describe('a viewer', () => {
  it('reads everything, sees nothing to press, and is refused by the server as well', async () => {
    const guest = await signedIn('vera', releasePath())
    const { page } = guest
    await page.getByRole('heading', { name: 'Gates' }).waitFor()
    expect(await page.getByRole('button').allInnerTexts()).toEqual(['Sign out'])
    const token = await page.locator('input[name=token]').first().getAttribute('value')
    const forged = await page.request.post(`${releasePath()}/commands`, {
      form: { token: token!, command: 'approve', reason: 'forged', once: 'a', ...(await shownTo('anna')) },
      headers: { accept: 'text/html' },
    })
    expect(forged.status()).toBe(403)
    expect(await forged.text()).toContain('vera is a viewer')
    expect(guest.wrong).toEqual([])
    await guest.close()
  })
})

/** What stands in the hidden fields of the form that this person sees. */
async function shownTo(who: keyof Scene['keys']): Promise<Record<string, string>> {
  const guest = await signedIn(who, releasePath())
  const fields = await guest.page.locator('#decide input[type=hidden]').all()
  const pairs = await Promise.all(
    fields.map(async (field) => [await field.getAttribute('name'), await field.getAttribute('value')]),
  )
  await guest.close()
  return Object.fromEntries(pairs.filter(([name]) => name !== 'token' && name !== 'once')) as Record<
    string,
    string
  >
}

describe('an approver', () => {
  it('who asked for it, or whose word is another, is refused by the release itself', async () => {
    const operator = await signedIn('olga', releasePath())
    expect(await operator.page.getByRole('button', { name: 'Approve' }).count()).toBe(0)
    expect(await operator.page.getByRole('button', { name: 'Abort' }).count()).toBe(1)
    await operator.close()
  })

  it(
    'approves with a reason and sees the canary move; a page from before is refused',
    async () => {
      const ben = await signedIn('ben', releasePath())
      await ben.page.getByLabel('Reason').fill('looks good')
      const anna = await visited()
      await anna.page.goto('/')
      await anna.page.getByLabel('API key').fill('tnr_000000000000_wrong')
      await anna.page.getByRole('button', { name: 'Sign in' }).click()
      await anna.page.getByRole('alert').waitFor()
      await anna.signIn(scene.keys.anna)
      const { page } = anna
      await page.getByRole('heading', { name: 'Needs your attention' }).waitFor()
      await page.getByRole('link', { name: scene.candidate }).first().click()
      await page.getByText('Needs 1 approval by').waitFor()

      // Without a reason the browser itself keeps the form, and so does the server.
      await page.getByRole('button', { name: 'Approve' }).click()
      expect(new URL(page.url()).pathname).toBe(releasePath())
      await page.getByLabel('Reason').fill(`better where it matters ${markup}`)
      await page.getByRole('button', { name: 'Approve' }).click()
      await page.getByText('canary 10 %').first().waitFor({ timeout: patienceMs })
      await page.getByRole('cell', { name: markup }).first().waitFor()
      expect(await isHurt(page)).toBe(false)

      // Ben has been typing meanwhile; his page tells him, and does not throw away what he wrote.
      await ben.page.getByText('This release has changed').waitFor({ timeout: patienceMs })
      await ben.page.getByRole('button', { name: 'Approve' }).click()
      await ben.page.getByRole('heading', { name: 'The page was out of date' }).waitFor()
      expect(await ben.page.locator('main').innerText()).toContain(
        'The stage of the release was awaiting approval and is canary, stage 1 now.',
      )
      expect(await barriers(ben.page)).toEqual([])
      expect(await said('ben')).toBe(0)

      scene.call()
      await page.getByText('promoted', { exact: true }).first().waitFor({ timeout: 90_000 })
      expect(await page.locator('body').innerText()).toContain('Serving 100 % of traffic as champion')
      expect([...anna.wrong, ...ben.wrong]).toEqual([])
      await anna.close()
      await ben.close()
    },
    storyMs,
  )

  it(
    'pauses, resumes and takes back from the same page, and what the release refuses is told',
    async () => {
      const next = await scene.registry.register(scene.candidate)
      release = await scene.release(next, pausing)
      const anna = await signedIn('anna', releasePath())
      const { page } = anna
      const press = async (name: string) => {
        await page.getByLabel('Reason').fill(`because of ${name}`)
        await page.getByRole('button', { name, exact: true }).click()
      }
      await page.getByRole('button', { name: 'Approve' }).waitFor({ timeout: patienceMs })
      await press('Approve')
      await page.getByRole('button', { name: 'Pause' }).waitFor({ timeout: patienceMs })
      const other = await signedIn('anna', releasePath())
      await other.page.getByLabel('Reason').fill('once more')
      await press('Pause')
      await page.getByRole('button', { name: 'Resume' }).waitFor({ timeout: patienceMs })

      await other.page.getByRole('button', { name: 'Pause' }).click()
      await other.page.getByRole('heading', { name: 'The release has refused this' }).waitFor()
      expect(await other.page.locator('main').innerText()).toContain('it is paused already, by anna')
      await other.close()

      await press('Resume')
      await page.getByRole('button', { name: 'Pause' }).waitFor({ timeout: patienceMs })
      await press('Roll back')
      await page.getByText('rolled back', { exact: true }).first().waitFor({ timeout: patienceMs })
      expect(anna.wrong).toEqual([])
      await anna.close()
    },
    storyMs,
  )
})

/** A policy whose first stage ends only when somebody says so. */
const pausing = { ...scenePolicy, stages: [{ ...scenePolicy.stages[0]!, minRequests: 1_000_000 }] }

async function said(who: string): Promise<number> {
  const rows = await scene.core.store.query(sql`select 1 from release_commands where actor = ${who}`)
  return rows.length
}
