/** Renders an error as a page with its remedy. The page shows no more than the problem document; the details are in the log. */
import { capitalized } from '../../domain/figures.ts'
import type { RouteResponse } from '../http/route.ts'
import type { Problem } from '../http/problem.ts'
import { headersOf } from '../http/problem.ts'
import type { Principal } from '../http/principal.ts'
import { zoneOf } from './clock.ts'
import { withCode } from './components/elements.tsx'
import { listHref } from './components/pager.tsx'
import { navOf, pageText } from './render-page.tsx'
import { pageRegistry } from './page-registry.ts'
import type { PageElement } from './page.ts'
import { html, pageHeaders } from './security-headers.ts'

export interface FailedRequest {
  target: string
  safe: boolean
  header: (name: string) => string | undefined
  /** The signed-in user, for the navigation; absent before sign-in. */
  reader?: Principal | undefined
}

export async function errorPage(
  problem: Problem,
  { target, safe, header, reader }: FailedRequest,
): Promise<RouteResponse> {
  const { status } = problem
  if (problem.code === 'unauthenticated') return toSignIn({ target, safe, header })
  const {
    'content-type': _type,
    'www-authenticate': _challenge,
    ...headers
  } = headersOf(problem, target, safe)
  const text = await pageText({
    title: headingOf(problem),
    path: target.split('?')[0]!,
    zone: zoneOf(header),
    ...(reader?.actor !== undefined && {
      actor: reader.actor,
      nav: navOf(pageRegistry, reader.actor),
      token: reader.session?.token,
    }),
    children: (
      <Failure
        problem={problem}
        form={safe ? undefined : pageOfForm(header)}
        unfiltered={safe && status === 400 ? /^([^?]*)\?/.exec(target)?.[1] : undefined}
      />
    ),
  })
  return { status, text, type: html, headers: { ...headers, ...pageHeaders } }
}

/**
 * Redirects to the sign-in page, which returns to the target afterwards. A link from another site or an email carries no session cookie, so
 * the browser first reloads such a request from this host.
 */
async function toSignIn({ target, safe, header }: FailedRequest): Promise<RouteResponse> {
  if (header('hx-request') !== undefined)
    return { status: 401, text: '', type: html, headers: { ...pageHeaders, 'hx-refresh': 'true' } }
  if (safe && header('sec-fetch-site') === 'cross-site') {
    const text = `<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0"><title>Tenure</title>`
    return { text, type: html, headers: pageHeaders }
  }
  const next = safe ? target : pageOfForm(header)
  const query = {
    ...(next !== undefined && next !== '/' && { next }),
    ...(!safe && { unsent: 'form' }),
  }
  return { status: 303, headers: { ...pageHeaders, location: listHref('/sign-in', query) } }
}

/** Returns the page whose form was sent, with its query; undefined when the browser does not name a page of this host. */
function pageOfForm(header: FailedRequest['header']): string | undefined {
  const from = URL.parse(header('referer') ?? '')
  return from !== null && from.host === header('host') ? `${from.pathname}${from.search}` : undefined
}

interface FailureParts {
  problem: Problem
  /** The page whose form was sent. */
  form: string | undefined
  /** The page without its invalid query. */
  unfiltered: string | undefined
}

const Failure = ({ problem, form, unfiltered }: FailureParts): PageElement => (
  <article class="failure">
    <p class="status">{problem.status}</p>
    <h1>{headingOf(problem)}</h1>
    <p>{withCode(sentence(problem.detail))}</p>
    <p>{withCode(remedies[problem.code] ?? problem.remedy)}</p>
    {problem.code === 'postgres_unavailable' && problem['database'] !== 'slow' && (
      <p>
        <strong>Predictions continue</strong>: every replica serves from memory. Reload this page once the
        database is back.
      </p>
    )}
    <p>
      {form !== undefined && [<a href={form}>Back to the form</a>, ' · ']}
      {unfiltered !== undefined && [<a href={unfiltered}>Open the page without its filters</a>, ' · ']}
      <a href="/">Go to overview</a>
    </p>
    <p class="quiet">
      {problem.code} · request {problem.request_id}
    </p>
  </article>
)

/** Remedies for a page, where those of the problem document are for a program. */
const remedies: Readonly<Record<string, string>> = {
  invalid_request: 'Correct the value that the message names.',
  command_refused: 'Open the page again to see what has changed.',
}

/** Capitalises the first letter, unless the text begins with a name. */
const sentence = (text: string): string =>
  `${text.replace(/^(?:the|there|this|a|an|no|it|alert) /, capitalized)}.`

function headingOf({ status, code, title, database }: Problem): string {
  if (code === 'postgres_unavailable' && database === 'full') return 'The disk of the database is full'
  if (code === 'postgres_unavailable' && database === 'read_only') return 'The database is read-only'
  if (code === 'postgres_unavailable' && database === 'slow') return 'The database is slow'
  if (code === 'postgres_unavailable') return 'Database unreachable'
  if (code === 'temporal_unavailable') return 'Temporal unreachable'
  switch (status) {
    case 400:
      return 'Invalid request'
    case 403:
      return 'No access'
    case 404:
      return 'Page not found'
    case 409:
      return 'Conflict'
    case 500:
      return 'Something went wrong'
    default:
      return title
  }
}
