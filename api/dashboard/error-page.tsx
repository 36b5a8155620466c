/**
 * What a person is shown in place of a page: what is wrong, what to do, and where to go on. Nobody is told more than the problem
 * document says; what nobody foresaw is in the log under the number shown.
 */
import type { RouteResponse } from '../http/route.ts'
import type { Problem } from '../http/problem.ts'
import { headersOf } from '../http/problem.ts'
import { pageText } from './render-page.tsx'
import type { View } from './page.ts'
import { html, pageHeaders } from './security-headers.ts'

export interface FailedAsk {
  target: string
  safe: boolean
  header: (name: string) => string | undefined
}

export async function failurePage(
  problem: Problem,
  { target, safe, header }: FailedAsk,
): Promise<RouteResponse> {
  const { status, request_id: requestId } = problem
  if (problem.code === 'unauthenticated') return toSignIn({ target, safe, header })
  const {
    'content-type': _type,
    'www-authenticate': _challenge,
    ...headers
  } = headersOf(problem, target, safe)
  const text = await pageText({
    title: headingOf(problem),
    path: target.split('?')[0]!,
    children: <Failure problem={problem} requestId={requestId} />,
  })
  return { status, text, type: html, headers: { ...headers, ...pageHeaders } }
}

/**
 * A cookie of ours does not come along when another site, or a mail, led here: the page is asked for once more by itself, and then
 * it does. Who has no session is sent to sign in and comes back.
 */
async function toSignIn({ target, safe, header }: FailedAsk): Promise<RouteResponse> {
  if (header('hx-request') !== undefined)
    return { status: 401, text: '', type: html, headers: { ...pageHeaders, 'hx-refresh': 'true' } }
  if (safe && header('sec-fetch-site') === 'cross-site') {
    const text = `<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0"><title>Tenure</title>`
    return { text, type: html, headers: pageHeaders }
  }
  const next = safe && target !== '/' ? `?next=${encodeURIComponent(target)}` : ''
  return { status: 303, headers: { ...pageHeaders, location: `/sign-in${next}` } }
}

const Failure = ({ problem, requestId }: { problem: Problem; requestId: string }): View => (
  <article class="failure">
    <p class="status">{problem.status}</p>
    <h1>{headingOf(problem)}</h1>
    <p>{problem.detail}.</p>
    <p>{problem.remedy}</p>
    {problem.code === 'postgres_unavailable' && (
      <p>
        <strong>Predictions go on</strong>: every replica answers from its memory. This page comes back when
        the database does.
      </p>
    )}
    <p>
      <a href="/">To the overview</a>
    </p>
    <p class="quiet">
      {problem.code} · request {requestId}
    </p>
  </article>
)

function headingOf({ status, code, title }: Problem): string {
  if (code === 'postgres_unavailable') return 'The database does not answer'
  if (code === 'temporal_unavailable') return 'Temporal does not answer'
  switch (status) {
    case 400:
      return 'This address asks for something odd'
    case 403:
      return 'Not for this key'
    case 404:
      return 'There is nothing here'
    case 409:
      return 'Not now'
    case 500:
      return 'Something is broken'
    default:
      return title
  }
}
