/**
 * Signs users in and out of the dashboard. The browser keeps a session cookie instead of the key. Failed attempts are limited per key; the
 * right key is never refused, so that a client cannot lock others out.
 */
import { programRoles } from '../../../../domain/roles.ts'
import { DomainError, isError } from '../../../../domain/errors.ts'
import { idOfKey } from '../../../../store/access/api-keys.ts'
import type { RouteResponse, RouteRequest } from '../../../http/route.ts'
import type { ApiDeps } from '../../../deps.ts'
import type { Authentication } from '../../../auth/authentication.ts'
import { parseCode } from '../../../../store/access/sign-in-codes.ts'
import { isSecure, sessionIn, sessionMs, setCookie } from '../../../auth/cookie.ts'
import { sealSession } from '../../../auth/session.ts'
import { pageText } from '../../render-page.tsx'
import { createAttempts } from '../../../auth/sign-in-limit.ts'
import type { PageElement } from '../../page.ts'
import { zoneOf } from '../../clock.ts'
import { html, pageHeaders } from '../../security-headers.ts'

type AnyAsk = RouteRequest<unknown, unknown>

export const attempts = createAttempts()

/** The answer to a form that was sent after its session had ended. */
const unsentText = 'Your session has ended, and the form was not applied. Sign in and send it again.'

/** The answer to a session that the server no longer accepts. */
const endedText =
  'You are signed out: the session is too old, or its key was revoked, has expired or has another secret. Sign in again.'

export async function showSignIn(deps: ApiDeps, ask: AnyAsk): Promise<RouteResponse> {
  const query = new URLSearchParams(ask.target.split('?')[1] ?? '')
  const next = nextOf(query.get('next'))
  if (ask.session !== undefined) return { status: 303, headers: { ...pageHeaders, location: next } }
  const hadSession = sessionIn(ask.header('cookie'), isSecure(ask.header, deps.oidc?.redirect)) !== undefined
  const message = query.has('unsent') ? unsentText : hadSession ? endedText : undefined
  return signInPage({ next, hasSso: deps.oidc !== undefined, message, zone: zoneOf(ask.header) })
}

export async function signIn(deps: ApiDeps, ask: AnyAsk): Promise<RouteResponse> {
  // Reads the raw bytes, because keys are redacted in the parsed body.
  const form = new URLSearchParams(ask.bytes.toString('utf8'))
  const next = nextOf(form.get('next'))
  const shown = { next, hasSso: deps.oidc !== undefined, zone: zoneOf(ask.header) }
  const key = (form.get('key') ?? '').trim()
  const code = parseCode(key)
  // A code is short and its hash slow, so that its attempts are limited, also parallel ones, before it is looked up; keys are not affected.
  const tried = code === undefined ? (idOfKey(key) ?? ask.address) : `code ${ask.address}`
  const waitS = attempts.waitS(tried)
  if (code !== undefined && waitS > 0) return tooMany(waitS, shown)
  if (code !== undefined) attempts.failed(tried)
  try {
    const { actor, session, expiresAtMs } =
      code === undefined ? deps.authentication.identify(key) : await identifyByCode(deps, code)
    if (programRoles.includes(actor.role)) throw new DomainError('forbidden', `a ${actor.role}`)
    if (code !== undefined) attempts.succeeded(tried)
    const untilMs = Math.min(deps.serving.wall() + sessionMs, expiresAtMs)
    const cookie = setCookie(
      sealSession(deps.signer, session, untilMs),
      isSecure(ask.header, deps.oidc?.redirect),
    )
    deps.log.info({ by: actor.name, key: actor.id }, 'signed in')
    return { status: 303, headers: { ...pageHeaders, location: next, 'set-cookie': cookie } }
  } catch (error) {
    if (!isError(error)) throw error
    const message = messageOf(error)
    if (message === undefined) throw error
    if (waitS > 0) return tooMany(waitS, shown)
    if (code === undefined) attempts.failed(tried)
    deps.log.warn({ address: ask.address, key: idOfKey(key) }, 'sign-in refused')
    return signInPage({ ...shown, status: 403, message })
  }
}

/** Throws `unauthenticated` for a code that is unknown, used or expired, or whose key has another secret or is no longer valid. */
async function identifyByCode(
  { authentication }: ApiDeps,
  code: string,
): Promise<ReturnType<Authentication['identify']>> {
  const session = await authentication.codes.redeem(code)
  const actor = session && authentication.sessionOf(session)
  if (session === undefined || actor === undefined) throw new DomainError('unauthenticated', 'invalid code')
  return { actor, session, expiresAtMs: session.untilMs }
}

const tooMany = (waitS: number, asked: Pick<SignIn, 'next' | 'hasSso' | 'zone'>): Promise<RouteResponse> =>
  signInPage({
    ...asked,
    status: 429,
    message: `Too many failed attempts. Try again in ${waitS} s.`,
    headers: { 'retry-after': String(waitS) },
  })

export async function signOut(deps: ApiDeps, { session, header }: AnyAsk): Promise<RouteResponse> {
  if (session !== undefined) await deps.authentication.endSession(session)
  return {
    status: 303,
    headers: {
      ...pageHeaders,
      location: '/sign-in',
      'set-cookie': setCookie(undefined, isSecure(header, deps.oidc?.redirect)),
    },
  }
}

/** Explains a failed sign-in; undefined for errors that another key does not fix. */
function messageOf({ code }: DomainError): string | undefined {
  if (code === 'unauthenticated') return 'Invalid or expired key or code'
  if (code === 'forbidden') return 'This key is for predictions and outcomes only'
  return undefined
}

/** Returns a path of this host. Any other target becomes `/`, so that the page is not an open redirect. */
export function nextOf(sent: string | null): string {
  return sent !== null && /^\/(?![/\\])[\x21-\x7e]{0,1000}$/.test(sent) && !sent.includes('\\') ? sent : '/'
}

interface SignIn {
  next: string
  zone: string
  status?: number
  message?: string
  headers?: Record<string, string>
  /** Whether an identity provider is configured. */
  hasSso?: boolean
}

export async function signInPage({
  next,
  zone,
  status = 200,
  message,
  headers = {},
  hasSso = false,
}: SignIn): Promise<RouteResponse> {
  const text = await pageText({
    title: 'Sign in',
    path: '/sign-in',
    zone,
    children: <SignInForm next={next} message={message} hasSso={hasSso} />,
  })
  return { status, text, type: html, headers: { ...pageHeaders, ...headers } }
}

const SignInForm = ({ next, message, hasSso }: Pick<SignIn, 'next' | 'message' | 'hasSso'>): PageElement => (
  <section class="card narrow">
    <h1>Sign in</h1>
    {message !== undefined && (
      <p class="notice bad" role="alert" id="problem">
        {message}
      </p>
    )}
    {hasSso && (
      <>
        <p>
          <a
            class="button"
            href={next === '/' ? '/sign-in/sso' : `/sign-in/sso?next=${encodeURIComponent(next)}`}
          >
            Sign in with your identity provider
          </a>
        </p>
        <p class="quiet">or with a key:</p>
      </>
    )}
    <form method="post" action="/sign-in">
      <input type="hidden" name="next" value={next} />
      <label for="key">API key or code</label>
      <input
        id="key"
        name="key"
        type="password"
        autocomplete="current-password"
        spellcheck={false}
        required
        maxlength={200}
        aria-describedby={message === undefined ? 'hint' : 'problem hint'}
        aria-invalid={message === undefined || message === unsentText ? undefined : 'true'}
        autofocus
      />
      <p id="hint" class="hint">
        Create a key: <code>tenure keys create ada --role approver</code>. For a code, follow “Sign in on
        another device” at the foot of a page where you are signed in.
      </p>
      <div class="actions">
        <button>Sign in</button>
      </div>
    </form>
  </section>
)
