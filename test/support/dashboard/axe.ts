/** Runs axe on a page. */
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import type { CDPSession, Page } from 'playwright-core'
import { contrastIssues, type Evaluate } from './contrast.ts'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const sessions = new WeakMap<Page, Promise<CDPSession>>()

/** Every accessibility issue that axe finds on the page, or in the part that a selector names. */
export const accessibilityIssues = async (page: Page, within?: string): Promise<string[]> =>
  issuesOf(await evaluatorWithAxe(page), { within })

/** As {@link accessibilityIssues} on the whole page, but texts in colours that have passed before are not judged again. */
export async function accessibilityIssuesOnce(page: Page): Promise<string[]> {
  const evaluate = await evaluatorWithAxe(page)
  const others = await issuesOf(evaluate, { but: 'color-contrast' })
  return [...others, ...(await contrastIssues(evaluate))]
}

/** Every text of too little contrast on the page as it stands. */
export const contrastIssuesOnce = async (page: Page): Promise<string[]> =>
  contrastIssues(await evaluatorWithAxe(page))

/** Through the debugger, because the content security policy of the page forbids the script. */
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
    // No rule that runs reads the styles that axe would parse; one reads the length of sounds.
    preload: { assets: ['media'] },
    rules: but === undefined ? {} : { [but]: { enabled: false } },
  })}).then(({ violations }) => violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary = '' }) => id + ': ' + target.join(' ') + ' ' + failureSummary)))`)
