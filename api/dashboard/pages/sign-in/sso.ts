/** Signs users in through the identity provider. Each user gets a key whose secret is unknown, and a session of that key. */
import { DomainError, isError } from '../../../../domain/errors.ts'
import { ensureSsoKey, revokeSsoKeys, type SsoIdentity } from '../../../../store/access/sso-keys.ts'
import type { OidcConfig } from '../../../../domain/access/oidc-config.ts'
import type { RouteResponse, RouteRequest } from '../../../http/route.ts'
import type { ApiDeps } from '../../../deps.ts'
import { cookieIn, isSecure, sessionMs, setCookie } from '../../../auth/cookie.ts'
import { sealSession } from '../../../auth/session.ts'
import { zoneOf } from '../../clock.ts'
import { pageHeaders } from '../../security-headers.ts'
import { attemptCookie, attemptMs, beginSignIn, finishSignIn, readAttempt } from '../../../auth/oidc.ts'
import { nextOf, signInPage } from './sign-in.tsx'

type AnyAsk = RouteRequest<unknown, unknown>

const queryOf = ({ target }: AnyAsk): URLSearchParams => new URLSearchParams(target.split('?')[1] ?? '')

/**
 * Sets the cookie of the sign-in. SameSite=Lax, because the redirect back starts at the provider's site. The cookie opens no page and
 * expires after minutes.
 */
const keep = (
  value: string,
  { header }: AnyAsk,
  { ageS, redirect }: { ageS: number; redirect: string },
): string =>
  `${attemptCookie}=${value}; Path=/sign-in; Max-Age=${ageS}; HttpOnly; SameSite=Lax${isSecure(header, redirect) ? '; Secure' : ''}`

/** Redirects to the provider. Throws `not_found` when no provider is configured. */
export async function startSso(deps: ApiDeps, ask: AnyAsk): Promise<RouteResponse> {
  const config = configOf(deps)
  const { location, kept } = await beginSignIn(config, deps.signer, {
    next: nextOf(queryOf(ask).get('next')),
    nowMs: deps.serving.wall(),
  })
  const cookie = keep(kept, ask, { ageS: attemptMs / 1_000, redirect: config.redirect })
  return { status: 303, headers: { ...pageHeaders, location, 'set-cookie': cookie } }
}

export async function completeSso(deps: ApiDeps, ask: AnyAsk): Promise<RouteResponse> {
  const config = configOf(deps)
  const nowMs = deps.serving.wall()
  const attempt = readAttempt(deps.signer, cookieIn(ask.header('cookie'), attemptCookie), nowMs)
  try {
    const identity = await finishSignIn(config, { attempt, nowMs }, queryOf(ask))
    const id = await ensureSsoKey(deps.store, identity, { keepDays: config.keyDays })
    await deps.authentication.refresh()
    const found = deps.authentication.sessionFor(id)
    if (found === undefined) throw new DomainError('not_ready', 'the key of this user is not loaded yet')
    deps.log.info({ by: found.actor.name, key: id, role: identity.role }, 'signed in by SSO')
    const sealed = sealSession(deps.signer, found.session, nowMs + sessionMs)
    const location = attempt?.next ?? '/'
    return {
      status: 303,
      headers: {
        ...pageHeaders,
        location,
        'set-cookie': setCookie(sealed, isSecure(ask.header, config.redirect)),
      },
    }
  } catch (error) {
    if (!isError(error, 'unauthenticated') && !isError(error, 'forbidden')) throw error
    const { withoutRole } = error.context as { withoutRole?: Pick<SsoIdentity, 'issuer' | 'subject'> }
    if (withoutRole !== undefined) {
      await revokeSsoKeys(deps.store, withoutRole)
      await deps.authentication.refresh()
    }
    deps.log.warn({ address: ask.address, why: error.message }, 'sign-in refused')
    const message = `Sign-in failed: ${error.message}.`
    return signInPage({ next: '/', status: 403, message, hasSso: true, zone: zoneOf(ask.header) })
  }
}

function configOf({ oidc }: ApiDeps): OidcConfig {
  if (oidc === undefined) throw new DomainError('not_found', 'no identity provider is configured')
  return oidc
}
