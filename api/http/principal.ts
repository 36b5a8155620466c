/**
 * Authenticates a request by its key or by a browser session. A browser sends credentials without being asked, also for a page of another
 * site, so a session may only read unless the request carries the token of its own form.
 */
import { DomainError } from '../../domain/errors.ts'
import { isSessionRevoked } from '../../store/access/sso-keys.ts'
import { isSecure, sessionIn } from '../auth/cookie.ts'
import type { Actor } from '../auth/authentication.ts'
import type { RouteDefinition } from './route.ts'
import type { ApiDeps } from '../deps.ts'
import { isOwnForm, readSession, type Session } from '../auth/session.ts'
import { issueOfSender } from '../auth/sender.ts'

export interface Principal {
  actor?: Actor
  session?: Session
}

type Header = (name: string) => string | undefined

/** Returns who sent the request. Throws `unauthenticated` for an unknown caller of a route that is not public. */
export async function principalOf(
  deps: ApiDeps,
  route: RouteDefinition,
  { header, safe }: { header: Header; safe: boolean },
): Promise<Principal> {
  const { authentication } = deps
  const authorization = header('authorization')
  if (route.allow === 'callers' || route.allow === 'labellers')
    return { actor: authentication.callerOf(authorization) }
  try {
    const isForm = route.page === true && !safe
    if (authorization !== undefined) return { actor: authentication.actorOf(authorization, safe) }
    const person = safe || isForm ? await fromSession(deps, header) : undefined
    return person ?? { actor: authentication.actorOf(undefined, safe) }
  } catch (error) {
    if (route.allow === 'public') return {}
    throw error
  }
}

/** Returns the reader of a page that reports a failure; undefined without a session, or when sessions cannot be read. */
export const findReader = (deps: ApiDeps, header: Header): Promise<Principal | undefined> =>
  fromSession(deps, header).catch(() => undefined)

async function fromSession(deps: ApiDeps, header: Header): Promise<Principal | undefined> {
  const cookie = sessionIn(
    header('cookie'),
    isSecure((name) => (name === 'origin' ? undefined : header(name)), deps.oidc?.redirect),
  )
  const session = readSession(deps.signer, cookie, deps.serving.wall())
  const actor = session && deps.authentication.sessionOf(session)
  if (session === undefined || actor === undefined || (await isSessionRevoked(deps.store, session.id)))
    return undefined
  return { actor, session }
}

/** Throws `forbidden` unless the form comes from a page of this host and, if there is a session, carries its token. */
export function requireOwnForm(
  session: Session | undefined,
  header: Header,
  token: string | undefined,
): void {
  const issue = issueOfSender(header)
  if (issue !== undefined) throw foreign(issue)
  if (session !== undefined && !isOwnForm(session, token)) throw foreign('it belongs to another session')
}

const foreign = (issue: string): DomainError =>
  new DomainError('forbidden', `the form is rejected: ${issue}`, {
    remedy: 'Open the page of this form again and send the form there.',
  })
