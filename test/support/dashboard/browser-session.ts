/** Opens a browser session and collects its problems: errors, policy violations and requests to other hosts. */
import type { Browser, BrowserContext, Page, Request } from 'playwright-core'
import { accessibilityIssues, accessibilityIssuesOnce, contrastIssuesOnce } from './axe.ts'

export interface BrowserSession {
  context: BrowserContext
  page: Page
  /** Errors, warnings, policy violations and requests to other hosts. */
  problems: string[]
  signIn(key: string, next?: string): Promise<void>
  close(): Promise<void>
}

export interface SessionOptions {
  url: string
  dark?: boolean
  width?: number
  height?: number
  /** The reader's time zone, such as `Europe/Vienna`. */
  timezone?: string
  /** Default: true. With false the browser runs no scripts. */
  scripts?: boolean
  /** Whether to emulate a touch screen. */
  touch?: boolean
}

export async function openSession(
  browser: Browser,
  {
    url,
    dark = false,
    width = 1_280,
    height = 900,
    timezone = 'UTC',
    scripts = true,
    touch = false,
  }: SessionOptions,
): Promise<BrowserSession> {
  const context = await browser.newContext({
    baseURL: url,
    colorScheme: dark ? 'dark' : 'light',
    viewport: { width, height },
    timezoneId: timezone,
    javaScriptEnabled: scripts,
    hasTouch: touch,
  })
  context.setDefaultTimeout(200_000)
  const page = await context.newPage()
  const problems: string[] = []
  page.on('pageerror', (error) => problems.push(`error: ${error.message}`))
  page.on('dialog', (dialog) => {
    problems.push(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  page.on('console', (message) => {
    // The console also reports refused requests; tests of refusals check the response itself. On a busy machine a replica responds 503 when
    // Postgres takes longer than a second, and the page then retries.
    const asksAgain =
      message.location().url === page.url().replace(/#.*/, '') && /status of 503/.test(message.text())
    const isRefusal = asksAgain || /status of (403|409)/.test(message.text())
    if ((message.type() === 'error' || message.type() === 'warning') && !isRefusal)
      problems.push(`${message.type()}: ${message.text()} (${message.location().url})`)
  })
  context.on('request', (request) => {
    const asked = new URL(request.url())
    if (asked.protocol !== 'data:' && asked.origin !== url) problems.push(`a request to ${asked.origin}`)
    if (asked.pathname === '/csp-reports') problems.push(`a report: ${request.postData()}`)
  })
  return {
    context,
    page,
    problems,
    async signIn(key, next = '/') {
      await page.goto(next)
      // The first page of a browser in another zone is loaded again, which would empty the field.
      if (scripts) await page.locator(`.zone[data-zone='${timezone}']`).waitFor()
      await page.getByLabel('API key').fill(key)
      await page.getByRole('button', { name: 'Sign in' }).click()
      await page.getByRole('button', { name: 'Sign out' }).waitFor()
    },
    close: () => context.close(),
  }
}

const overflow = 'document.documentElement.scrollWidth - window.innerWidth'
const clipped = `[...document.querySelectorAll('main *')]
    .filter((part) => part.checkVisibility() && part.scrollWidth > part.clientWidth + 1 && getComputedStyle(part).overflowX !== 'visible')
    .filter((part) => part.closest('pre, thead, .aloud, input, select, textarea') === null)
    .map((part) => part.tagName + ' ' + (part.getAttribute('aria-label') ?? part.className) + ' ' + part.scrollWidth + ' > ' + part.clientWidth)`

/** Returns by how many pixels the page is wider than its window. */
export const overflowPx = (page: Page): Promise<number> => page.evaluate(overflow)

/**
 * Returns the elements whose content is wider than the element, so that part of it is cut off. Ignores closed details, code, form fields
 * and headings for screen readers.
 */
export const clippedParts = (page: Page): Promise<string[]> => page.evaluate(clipped)

/** Returns whether hostile markup on the page has run. */
export const hasRunMarkup = (page: Page): Promise<boolean> => page.evaluate('window.hurt === 1')

/**
 * Widths of a phone, of 1280 px at 200 % zoom, of a large display and of a laptop. The laptop is last because tests continue at its width.
 */
const widths = [390, 640, 1_920, 1_280] as const

type Scheme = 'dark' | 'light'
/**
 * The widths at which axe checks the page. The first colour scheme runs all rules; the second runs the contrast rule, the only one that
 * depends on colours.
 */
const looks: Readonly<Record<number, readonly [Scheme, Scheme]>> = {
  390: ['dark', 'light'],
  1_280: ['light', 'dark'],
}

/**
 * Returns the problems of the current page: parts that are cut off or wider than the screen, small text in charts, and issues that axe finds in light and dark,
 * on a phone and on a laptop. With `notice`, also checks what is cut off while the page shows this text as the state of its connection.
 */
export const issuesOfLooks = (page: Page, { notice }: { notice?: string } = {}): Promise<string[]> =>
  issuesAt(page, { notice }, async (width) => {
    const issues: string[] = []
    for (const [i, colorScheme] of (looks[width] ?? []).entries()) {
      await emulate(page, colorScheme)
      const found = await (i === 0 ? accessibilityIssuesOnce(page) : contrastIssuesOnce(page))
      issues.push(...found.map((issue) => `${colorScheme}: ${issue}`))
    }
    return issues
  })

/** Returns the parts that are cut off or wider than the screen. */
export const fitIssues = (page: Page): Promise<string[]> => issuesAt(page, {}, () => Promise.resolve([]))

/** Returns the issues that axe finds in one part of the page, in light and dark, on a phone and on a laptop. */
export const issuesOfPart = (page: Page, within: string): Promise<string[]> =>
  issuesAt(page, {}, async (width) => {
    const issues: string[] = []
    for (const colorScheme of looks[width] ?? []) {
      await emulate(page, colorScheme)
      issues.push(...(await accessibilityIssues(page, within)).map((issue) => `${colorScheme}: ${issue}`))
    }
    return issues
  })

/** Reduces motion, because with transitions a colour does not change at once. */
const emulate = (page: Page, colorScheme: Scheme) =>
  page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })

async function issuesAt(
  page: Page,
  { notice }: { notice?: string },
  more: (width: number) => Promise<string[]>,
): Promise<string[]> {
  const issues: string[] = []
  const at = page.viewportSize()!
  for (const width of widths) {
    await page.setViewportSize({ width, height: 900 })
    issues.push(...(await page.evaluate<string[]>(fit)).map((issue) => `${width} px: ${issue}`))
    if (notice !== undefined) {
      const stale = await page.evaluate<string[]>(fitWith(notice))
      issues.push(...stale.map((issue) => `stale, ${width} px: ${issue}`))
    }
    issues.push(...(await more(width)).map((issue) => `${width} px, ${issue}`))
  }
  if (at.width !== widths.at(-1) || at.height !== 900) await page.setViewportSize(at)
  return issues
}

/** Below this size, the text of a chart is not legible. */
const minChartTextPx = 9
const smallTexts = `[...document.querySelectorAll('main svg text')]
    .filter((text) => text.checkVisibility())
    .map((text) => ({ text, px: parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a }))
    .filter(({ px }) => px < ${minChartTextPx})
    .map(({ text, px }) => px.toFixed(1) + ' px: ' + text.textContent)`

const fit = `[
  ...[${overflow}].filter((px) => px > 0).map((px) => px + ' px wider than the screen'),
  ...${clipped}.map((part) => 'cut off: ' + part),
  ...${smallTexts}.slice(0, 3).map((text) => 'small text in a chart: ' + text),
]`

const fitWith = (notice: string) => `(() => {
  const shown = document.querySelector('#connection')
  shown.textContent = ${JSON.stringify(notice)}
  const issues = [...(shown.checkVisibility() ? [] : ['the notice does not show']), ...${fit}]
  shown.textContent = ''
  return issues
})()`

/** Presses Tab `times` times without waiting between presses; otherwise the page would render after each press. */
async function pressTab(page: Page, times: number): Promise<void> {
  const client = await page.context().newCDPSession(page)
  const key = { key: 'Tab', code: 'Tab', windowsVirtualKeyCode: 9 }
  const presses = Array.from({ length: times }, () =>
    (['rawKeyDown', 'keyUp'] as const).map((type) => client.send('Input.dispatchKeyEvent', { type, ...key })),
  )
  await Promise.all(presses.flat())
  await client.detach()
}

/** Returns the controls that Tab does not reach, and the controls that show no visible focus. */
export async function keyboardIssues(page: Page): Promise<string[]> {
  // A part that reloads during the round may replace links that the round has already visited, so reloads are blocked.
  await page.evaluate(`(() => {
    window.controls = 'a[href], button, input, select, textarea, summary'
    window.keep = (event) => event.preventDefault()
    window.addEventListener('htmx:before:swap', window.keep, true)
    document.addEventListener('focusin', ({ target }) => {
      const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(target)
      window.reached.set(target, (outlineStyle !== 'none' && outlineWidth !== '0px') || boxShadow !== 'none')
    })
  })()`)
  // A reload that had begun before it was blocked may still replace a control that the round has visited.
  for (let rounds = 1; ; rounds++) {
    const count = await page.evaluate<number>(`(() => {
      window.reached = new Map()
      return document.querySelectorAll(controls + ', [tabindex="0"]').length
    })()`)
    // A field with autofocus is in the middle of the page; a whole round also visits the controls before it.
    await pressTab(page, count + 3)
    const issues = await page.evaluate<string[]>(`(() => {
      const name = (part) => part.outerHTML.slice(0, 120)
      const unseen = [...window.reached].filter(([, isSeen]) => !isSeen).map(([part]) => 'no visible focus: ' + name(part))
      // Tab reaches one radio button of a group; the arrow keys reach the others.
      const radios = new Set([...window.reached.keys()].filter(({ type }) => type === 'radio').map(({ name }) => name))
      const missed = [...document.querySelectorAll(controls)]
        .filter((part) => part.checkVisibility({ visibilityProperty: true }) && !part.disabled && part.type !== 'hidden')
        .filter((part) => !window.reached.has(part) && !(part.type === 'radio' && radios.has(part.name)))
      return [...unseen, ...missed.map((part) => 'not reached by Tab: ' + name(part))]
    })()`)
    if (issues.length > 0 && rounds < 3) continue
    await page.evaluate(`window.removeEventListener('htmx:before:swap', window.keep, true)`)
    return issues
  }
}

/** Counts the bytes that the page loads without interaction, as transferred: compressed, without headers. */
export function weigh(page: Page): () => Promise<{ bytes: number; scriptBytes: number }> {
  const asked: Request[] = []
  const note = (request: Request) => asked.push(request)
  page.on('requestfinished', note)
  return async () => {
    page.off('requestfinished', note)
    const sizes = asked.map(async (request) => ({
      bytes: (await request.sizes()).responseBodySize,
      isScript: request.resourceType() === 'script',
    }))
    const all = await Promise.all(sizes)
    const sum = (found: typeof all) => found.reduce((total, { bytes }) => total + bytes, 0)
    return { bytes: sum(all), scriptBytes: sum(all.filter(({ isScript }) => isScript)) }
  }
}
