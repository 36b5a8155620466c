/** Opens a browser session and collects its problems: errors, policy violations and requests to other hosts. */
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import type { Browser, BrowserContext, Page } from 'playwright-core'

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
  /** Of the reader, such as `Europe/Vienna`. */
  timezone?: string
  /** Without it the browser runs no script. */
  scripts?: boolean
  /** A touch screen. */
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
    // The console also reports refused requests; tests of refusals check the response itself.
    const isRefusal = /status of (403|409)/.test(message.text())
    if ((message.type() === 'error' || message.type() === 'warning') && !isRefusal)
      problems.push(`${message.type()}: ${message.text()}`)
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
      await page.getByLabel('API key').fill(key)
      await page.getByRole('button', { name: 'Sign in' }).click()
      await page.getByRole('button', { name: 'Sign out' }).waitFor()
    },
    close: () => context.close(),
  }
}

interface AxeResult {
  violations: {
    id: string
    impact?: string | null
    nodes: { target: unknown[]; failureSummary?: string }[]
  }[]
}

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** The serious and critical accessibility issues that axe finds on the page. */
export async function accessibilityIssues(page: Page): Promise<string[]> {
  // Runs axe through the debugger, because the content security policy of the page forbids the script.
  const client = await page.context().newCDPSession(page)
  try {
    await client.send('Runtime.evaluate', { expression: axe })
    const { result } = await client.send('Runtime.evaluate', {
      expression: 'axe.run(document, { resultTypes: ["violations"] }).then((found) => JSON.stringify(found))',
      awaitPromise: true,
      returnByValue: true,
    })
    const { violations } = JSON.parse(String(result.value)) as AxeResult
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .flatMap(({ id, nodes }) =>
        nodes.map(({ target, failureSummary = '' }) => `${id}: ${target.join(' ')} ${failureSummary}`),
      )
  } finally {
    await client.detach()
  }
}

/** The number of pixels by which the page is wider than its window. */
export const overflowPx = (page: Page): Promise<number> =>
  page.evaluate('document.documentElement.scrollWidth - window.innerWidth')

/**
 * The parts of a page whose content is wider than they are, so that some of it is cut off. Closed details, code, form fields and heads for screen readers
 * are left out.
 */
export const clippedParts = (page: Page): Promise<string[]> =>
  page.evaluate(`[...document.querySelectorAll('main *')]
    .filter((part) => part.checkVisibility() && part.scrollWidth > part.clientWidth + 1 && getComputedStyle(part).overflowX !== 'visible')
    .filter((part) => part.closest('pre, thead, .aloud, input, select, textarea') === null)
    .map((part) => part.tagName + ' ' + (part.getAttribute('aria-label') ?? part.className) + ' ' + part.scrollWidth + ' > ' + part.clientWidth)`)

/** Whether hostile markup on the page has run. */
export const hasRunMarkup = (page: Page): Promise<boolean> => page.evaluate('window.hurt === 1')
