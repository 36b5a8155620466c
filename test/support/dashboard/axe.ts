/** Runs axe on a page. */
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import type { CDPSession, Page } from 'playwright-core'
import { contrastIssues, type Evaluate } from './contrast.ts'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const sessions = new WeakMap<Page, Promise<CDPSession>>()

/** Returns the accessibility issues that axe finds on the page, or in the part that a selector names. */
export const accessibilityIssues = async (page: Page, within?: string): Promise<string[]> =>
  issuesOf(await evaluatorWithAxe(page), { within })

/** Checks the whole page like {@link accessibilityIssues}, but skips the contrast of texts whose colours have already passed. */
export async function accessibilityIssuesOnce(page: Page): Promise<string[]> {
  const evaluate = await evaluatorWithAxe(page)
  const others = await issuesOf(evaluate, { but: 'color-contrast' })
  return [...others, ...(await contrastIssues(evaluate))]
}

/** Returns the texts with too little contrast on the current page. */
export const contrastIssuesOnce = async (page: Page): Promise<string[]> =>
  contrastIssues(await evaluatorWithAxe(page))

/** Injects axe through the debugger, because the content security policy of the page forbids the script. */
async function evaluatorWithAxe(page: Page): Promise<Evaluate> {
  let session = sessions.get(page)
  if (session === undefined) sessions.set(page, (session = page.context().newCDPSession(page)))
  const client = await session
  const evaluate: Evaluate = async <T>(expression: string) => {
    const { result, exceptionDetails } = await client.send('Runtime.evaluate', {
      expression,
      awaitPromise: true,
      returnByValue: true,
    })
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text)
    return result.value as T
  }
  if ((await evaluate('typeof axe')) === 'undefined') await evaluate(`${axe};0`)
  return evaluate
}

const issuesOf = (
  evaluate: Evaluate,
  { within, but }: { within?: string; but?: string },
): Promise<string[]> =>
  evaluate(`axe.run(${within === undefined ? 'document' : JSON.stringify(within)}, ${JSON.stringify({
    resultTypes: ['violations'],
    // axe preloads stylesheets and media by default. None of the enabled rules needs stylesheets, and the only rule for media checks sound.
    preload: { assets: ['media'] },
    // axe leaves out this rule of WCAG 2.2 by default.
    rules: { 'target-size': { enabled: true }, ...(but !== undefined && { [but]: { enabled: false } }) },
  })}).then(({ violations }) => violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary = '' }) => id + ': ' + target.join(' ') + ' ' + failureSummary)))`)
