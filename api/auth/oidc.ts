/**
 * Signing in with the identity provider of the house: OpenID Connect, authorization code with PKCE (RFC 7636), state and nonce. What
 * comes back is believed only with a signature of the issuer, for this client and for this very attempt.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { JWTPayload, JWTVerifyGetKey } from 'jose'
import { DomainError } from '../../domain/errors.ts'
import type { Role } from '../../domain/roles.ts'
import type { Signer } from '../../store/signing/signing-key.ts'
import type { OidcConfig } from '../../temporal.config.ts'

/** What is kept in the browser from the way there to the way back. */
export interface Attempt {
  state: string
  nonce: string
  verifier: string
  next: string
  untilMs: number
}

export interface Identity {
  name: string
  role: Role
}

export const attemptCookie = 'tenure_sign_in'
export const attemptMs = 600_000
const answerMs = 5_000
/** How long what the provider says of itself is believed. */
const metadataMs = 3_600_000
const purpose = 'tenure sign-in attempt 1\n'

interface Provider {
  authorization_endpoint: string
  token_endpoint: string
  jwks_uri: string
  issuer: string
  readMs: number
  keys: JWTVerifyGetKey
}

const providers = new Map<string, Provider>()

/** Where the browser is sent, and what it keeps meanwhile. */
export async function beginSignIn(
  config: OidcConfig,
  signer: Signer,
  { next, nowMs }: { next: string; nowMs: number },
): Promise<{ location: string; kept: string }> {
  const { authorization_endpoint: endpoint } = await providerOf(config)
  const random = () => randomBytes(32).toString('base64url')
  const attempt: Attempt = {
    state: random(),
    nonce: random(),
    verifier: random(),
    next,
    untilMs: nowMs + attemptMs,
  }
  const location = new URL(endpoint)
  const asked = {
    response_type: 'code',
    client_id: config.clientId,
    redirect_uri: config.redirect,
    scope: 'openid email profile',
    state: attempt.state,
    nonce: attempt.nonce,
    code_challenge: createHash('sha256').update(attempt.verifier).digest('base64url'),
    code_challenge_method: 'S256',
  }
  for (const [name, value] of Object.entries(asked)) location.searchParams.set(name, value)
  const payload = Buffer.from(JSON.stringify(attempt)).toString('base64url')
  const signature = signer.sign(Buffer.from(purpose + payload)).toString('base64url')
  return { location: location.href, kept: `${payload}.${signature}` }
}

/** The attempt that the browser has kept; nothing when it is over or not ours. */
export function readAttempt(signer: Signer, value: string | undefined, nowMs: number): Attempt | undefined {
  const [payload = '', signature = ''] = (value ?? '').split('.')
  if (!signer.verify(Buffer.from(purpose + payload), Buffer.from(signature, 'base64url'))) return undefined
  const attempt = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Attempt
  return attempt.untilMs > nowMs ? attempt : undefined
}

/** Who has signed in. Throws `unauthenticated` for an answer that is not believed, `forbidden` for a person without a role here. */
export async function finishSignIn(
  config: OidcConfig,
  { attempt, nowMs }: { attempt: Attempt | undefined; nowMs: number },
  answer: URLSearchParams,
): Promise<Identity> {
  if (attempt === undefined || !isSame(answer.get('state') ?? '', attempt.state))
    throw refused('the answer belongs to no attempt of this browser')
  const error = answer.get('error')
  if (error !== null) throw refused(`the identity provider says ${JSON.stringify(error.slice(0, 100))}`)
  const code = answer.get('code') ?? ''
  const provider = await providerOf(config)
  const { id_token: token } = await exchange(config, provider, { code, verifier: attempt.verifier })
  const claims = await verified(config, provider, { token, nowMs })
  if (typeof claims['nonce'] !== 'string' || !isSame(claims['nonce'], attempt.nonce))
    throw refused('the identity is not the answer to this attempt')
  return identityOf(config, claims)
}

async function providerOf({ issuer }: OidcConfig): Promise<Provider> {
  const known = providers.get(issuer)
  if (known !== undefined && performance.now() - known.readMs < metadataMs) return known
  const said = (await askProvider(
    `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`,
  )) as Partial<Omit<Provider, 'keys' | 'readMs'>>
  const { authorization_endpoint, token_endpoint, jwks_uri } = said
  if (said.issuer !== issuer || !authorization_endpoint || !token_endpoint || !jwks_uri)
    throw silent(`${issuer} does not describe itself as it is configured`)
  // Loaded by those alone who sign in this way.
  const { createRemoteJWKSet } = await import('jose')
  const keys = createRemoteJWKSet(new URL(jwks_uri), { timeoutDuration: answerMs })
  const found = { authorization_endpoint, token_endpoint, jwks_uri, issuer, keys, readMs: performance.now() }
  providers.set(issuer, found)
  return found
}

async function exchange(
  { clientId, clientSecret, redirect }: OidcConfig,
  { token_endpoint: endpoint }: Provider,
  { code, verifier }: { code: string; verifier: string },
): Promise<{ id_token: string }> {
  const body = new URLSearchParams({
    grant_type: 'authorization_code',
    code,
    redirect_uri: redirect,
    client_id: clientId,
    code_verifier: verifier,
  })
  const pair = `${encodeURIComponent(clientId)}:${encodeURIComponent(clientSecret ?? '')}`
  const headers =
    clientSecret === undefined
      ? undefined
      : { authorization: `Basic ${Buffer.from(pair).toString('base64')}` }
  const said = (await askProvider(endpoint, { method: 'POST', body, ...(headers && { headers }) })) as {
    id_token?: unknown
  }
  if (typeof said.id_token !== 'string') throw refused('the identity provider has sent no identity')
  return { id_token: said.id_token }
}

/** Signatures by a secret both sides know are not taken: who knows the client could make them. */
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']

async function verified(
  config: OidcConfig,
  { keys }: Provider,
  { token, nowMs }: { token: string; nowMs: number },
): Promise<JWTPayload> {
  const { jwtVerify } = await import('jose')
  try {
    const { payload } = await jwtVerify(token, keys, {
      issuer: config.issuer,
      audience: config.clientId,
      algorithms,
      requiredClaims: ['exp', 'iat', 'sub'],
      currentDate: new Date(nowMs),
      clockTolerance: 30,
    })
    return payload
  } catch (error) {
    throw refused(`the identity is not believed: ${(error as Error).message}`)
  }
}

function identityOf({ nameClaim, roleClaim, roles }: OidcConfig, claims: JWTPayload): Identity {
  const name = claims[nameClaim]
  if (typeof name !== 'string' || !/^[\w.@+-]{1,90}$/.test(name))
    throw refused(`the identity has no ${nameClaim} that could be a name here`)
  if (nameClaim === 'email' && claims['email_verified'] === false)
    throw refused('the address of the identity is not verified')
  const said = claims[roleClaim]
  const groups = new Set((Array.isArray(said) ? said : [said]).map(String))
  const role = roles.find(([group]) => groups.has(group))?.[1]
  if (role === undefined) throw new DomainError('forbidden', `${name} has no role here by ${roleClaim}`)
  return { name, role }
}

async function askProvider(address: string, request: RequestInit = {}): Promise<unknown> {
  try {
    const answer = await fetch(address, {
      ...request,
      redirect: 'error',
      signal: AbortSignal.timeout(answerMs),
    })
    if (answer.ok) return await answer.json()
    if (answer.status < 500) throw refused(`the identity provider refuses with ${answer.status}`)
    throw silent(`it answers ${answer.status}`)
  } catch (error) {
    if (error instanceof DomainError) throw error
    throw silent((error as Error).message)
  }
}

const isSame = (one: string, other: string): boolean =>
  one.length === other.length && timingSafeEqual(Buffer.from(one), Buffer.from(other))

const refused = (why: string): DomainError => new DomainError('unauthenticated', why)
const silent = (why: string): DomainError =>
  new DomainError('not_ready', `the identity provider does not answer: ${why}`)
