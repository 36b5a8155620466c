/** The way to the identity provider and back. Who comes back gets a key that nobody knows, and a session of it like everybody. */
import { DomainError, isError } from '../../../../domain/errors.ts'
import { keepPersonKey } from '../../../../store/access/sso-keys.ts'
import type { OidcConfig } from '../../../../temporal.config.ts'
import type { RouteResponse, RouteRequest } from '../../../http/route.ts'
import type { ApiDeps } from '../../../deps.ts'
import { cookieIn, isSecure, sessionMs, setCookie } from '../../../auth/cookie.ts'
import { sealSession } from '../../../auth/session.ts'
import { pageHeaders } from '../../security-headers.ts'
import { attemptCookie, attemptMs, beginSignIn, finishSignIn, readAttempt } from '../../../auth/oidc.ts'
import { nextOf, signInPage } from './sign-in.tsx'

type AnyAsk = RouteRequest<unknown, unknown>

const queryOf = ({ target }: AnyAsk): URLSearchParams => new URLSearchParams(target.split('?')[1] ?? '')

/** Lax, because the way back begins at the provider's; it opens nothing and lasts for minutes. */
const keep = (value: string, { header }: AnyAsk, ageS: number): string =>
  `${attemptCookie}=${value}; Path=/sign-in; Max-Age=${ageS}; HttpOnly; SameSite=Lax${isSecure(header) ? '; Secure' : ''}`

/** Throws `not_found` where no provider is configured. */
export async function leave(deps: ApiDeps, ask: AnyAsk): Promise<RouteResponse> {
  const { location, kept } = await beginSignIn(configOf(deps), deps.signer, {
    next: nextOf(queryOf(ask).get('next')),
    nowMs: deps.serving.wall(),
  })
  const cookie = keep(kept, ask, attemptMs / 1_000)
  return { status: 303, headers: { ...pageHeaders, location, 'set-cookie': cookie } }
}

export async function comeBack(deps: ApiDeps, ask: AnyAsk): Promise<RouteResponse> {
  const config = configOf(deps)
  const nowMs = deps.serving.wall()
  const attempt = readAttempt(deps.signer, cookieIn(ask.header('cookie'), attemptCookie), nowMs)
  try {
    const identity = await finishSignIn(config, { attempt, nowMs }, queryOf(ask))
    const id = await keepPersonKey(deps.store, identity)
    await deps.authentication.refresh()
    const found = deps.authentication.sessionFor(id)
    if (found === undefined) throw new DomainError('not_ready', 'the key of this person is not known yet')
    deps.log.info({ by: found.actor.name, key: id, role: identity.role }, 'signed in elsewhere')
    const sealed = sealSession(deps.signer, found.session, nowMs + sessionMs)
    const location = attempt?.next ?? '/'
    return {
      status: 303,
      headers: { ...pageHeaders, location, 'set-cookie': setCookie(sealed, isSecure(ask.header)) },
    }
  } catch (error) {
    if (!isError(error, 'unauthenticated') && !isError(error, 'forbidden')) throw error
    deps.log.warn({ address: ask.address, why: error.message }, 'a sign-in was refused')
    const message = `You are not signed in: ${error.message}.`
    return signInPage({ next: '/', status: 403, message, elsewhere: true })
  }
}

function configOf({ oidc }: ApiDeps): OidcConfig {
  if (oidc === undefined) throw new DomainError('not_found', 'no identity provider is configured')
  return oidc
}
