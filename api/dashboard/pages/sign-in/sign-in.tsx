/**
 * Signing in and out. The key is sent once, and what the browser keeps from then on opens nothing but these pages; who guesses
 * is held back by where they come from, so that nobody can lock others out.
 */
import { DomainError, isError } from '../../../../domain/errors.ts'
import { endSession } from '../../../../store/access/revoked-sessions.ts'
import type { RouteResponse, RouteRequest } from '../../../http/route.ts'
import type { ApiDeps } from '../../../deps.ts'
import { isSecure, sessionMs, setCookie } from '../../../auth/cookie.ts'
import { sealSession } from '../../../auth/session.ts'
import { pageText } from '../../render-page.tsx'
import { createAttempts } from '../../../auth/sign-in-limit.ts'
import type { View } from '../../page.ts'
import { html, pageHeaders } from '../../security-headers.ts'

type AnyAsk = RouteRequest<unknown, unknown>

export const attempts = createAttempts()

export async function showSignIn(deps: ApiDeps, ask: AnyAsk): Promise<RouteResponse> {
  const next = nextOf(new URLSearchParams(ask.target.split('?')[1] ?? '').get('next'))
  if (ask.session !== undefined) return { status: 303, headers: { ...pageHeaders, location: next } }
  return signInPage({ next, elsewhere: deps.oidc !== undefined })
}

export async function signIn(deps: ApiDeps, ask: AnyAsk): Promise<RouteResponse> {
  // Read here, and not from the checked body: there keys are taken out of every text.
  const form = new URLSearchParams(ask.bytes.toString('utf8'))
  const next = nextOf(form.get('next'))
  const elsewhere = deps.oidc !== undefined
  const waitS = attempts.waitS(ask.address)
  if (waitS > 0)
    return signInPage({
      next,
      elsewhere,
      status: 429,
      message: `Too many keys that do not open. Try again in ${waitS} seconds.`,
      headers: { 'retry-after': String(waitS) },
    })
  try {
    const { actor, session, expiresAtMs } = deps.authentication.identify((form.get('key') ?? '').trim())
    if (actor.role === 'predictor') throw new DomainError('forbidden', 'a predictor')
    const untilMs = Math.min(deps.serving.wall() + sessionMs, expiresAtMs)
    const cookie = setCookie(sealSession(deps.signer, session, untilMs), isSecure(ask.header))
    deps.log.info({ by: actor.name, key: actor.id }, 'signed in')
    return { status: 303, headers: { ...pageHeaders, location: next, 'set-cookie': cookie } }
  } catch (error) {
    if (!isError(error)) throw error
    const message = messageOf(error)
    if (message === undefined) throw error
    attempts.failed(ask.address)
    deps.log.warn({ address: ask.address }, 'a sign-in was refused')
    return signInPage({ next, elsewhere, status: 403, message })
  }
}

export async function signOut(deps: ApiDeps, { session, header }: AnyAsk): Promise<RouteResponse> {
  if (session !== undefined) await endSession(deps.store, session)
  return {
    status: 303,
    headers: { ...pageHeaders, location: '/sign-in', 'set-cookie': setCookie(undefined, isSecure(header)) },
  }
}

/** Undefined for what the person at the keyboard cannot mend. */
function messageOf({ code }: DomainError): string | undefined {
  if (code === 'unauthenticated') return 'This key does not open: it is mistyped, revoked or expired.'
  if (code === 'forbidden') return 'This key is for predictions alone; it cannot sign in here.'
  return undefined
}

/** Only a path of this host; anything else would make this page a signpost to wherever somebody likes. */
export function nextOf(sent: string | null): string {
  return sent !== null && /^\/(?![/\\])[\x21-\x7e]{0,1000}$/.test(sent) && !sent.includes('\\') ? sent : '/'
}

interface SignIn {
  next: string
  status?: number
  message?: string
  headers?: Record<string, string>
  /** Whether there is an identity provider as well. */
  elsewhere?: boolean
}

export async function signInPage({
  next,
  status = 200,
  message,
  headers = {},
  elsewhere = false,
}: SignIn): Promise<RouteResponse> {
  const text = await pageText({
    title: 'Sign in',
    path: '/sign-in',
    children: <SignInForm next={next} message={message} elsewhere={elsewhere} />,
  })
  return { status, text, type: html, headers: { ...pageHeaders, ...headers } }
}

const SignInForm = ({
  next,
  message,
  elsewhere,
}: {
  next: string
  message: string | undefined
  elsewhere: boolean
}): View => (
  <section class="card narrow">
    <h1>Sign in</h1>
    {message !== undefined && (
      <p class="notice bad" role="alert" id="problem">
        {message}
      </p>
    )}
    {elsewhere && (
      <>
        <p>
          <a
            class="button"
            href={next === '/' ? '/sign-in/elsewhere' : `/sign-in/elsewhere?next=${encodeURIComponent(next)}`}
          >
            Sign in with your identity provider
          </a>
        </p>
        <p class="quiet">or with a key:</p>
      </>
    )}
    <form method="post" action="/sign-in">
      <input type="hidden" name="next" value={next} />
      <label for="key">API key</label>
      <input
        id="key"
        name="key"
        type="password"
        autocomplete="current-password"
        spellcheck={false}
        required
        maxlength={200}
        {...(message === undefined
          ? { 'aria-describedby': 'hint' }
          : { 'aria-describedby': 'problem hint', 'aria-invalid': 'true' })}
        autofocus
      />
      <p id="hint" class="hint">
        An admin makes one with <code>tenure keys create ada --role approver</code>. It is exchanged for a
        session of eight hours and is not kept in this browser.
      </p>
      <div class="actions">
        <button>Sign in</button>
      </div>
    </form>
  </section>
)
