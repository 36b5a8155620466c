/**
 * Signs users in with an OpenID Connect provider: authorization code with PKCE (RFC 7636), state and nonce. The ID token must carry a
 * signature of the issuer, although TLS already authenticates the token endpoint.
 */
import type { ClientAuth, Configuration, CustomFetch, IDToken, TokenEndpointResponse } from 'openid-client'
import { DomainError } from '../../domain/errors.ts'
import type { SsoIdentity } from '../../store/access/sso-keys.ts'
import type { Signer } from '../../store/signing/signing-key.ts'
import type { OidcConfig } from '../../domain/access/oidc-config.ts'
import { outgoingFetch } from '../../store/outgoing-fetch.ts'

/** The state of a sign-in, kept in a signed cookie while the user signs in at the provider. */
export interface Attempt {
  state: string
  nonce: string
  verifier: string
  next: string
  untilMs: number
}

export const attemptCookie = 'tenure_sign_in'
export const attemptMs = 600_000
const timeoutS = 5
/** The most bytes of one answer of a provider. */
const maxBytes = 1_048_576
const clockToleranceS = 30
/** How long the metadata of a provider is cached. */
const metadataMs = 3_600_000
const purpose = 'tenure sign-in attempt 1\n'

const clients = new Map<string, { client: Configuration; readMs: number }>()

/** Returns the URL of the provider's login page, and the value of the cookie. */
export async function beginSignIn(
  config: OidcConfig,
  signer: Signer,
  { next, nowMs }: { next: string; nowMs: number },
): Promise<{ location: string; kept: string }> {
  const client = await clientOf(config, nowMs)
  // Loaded on first use, because most installations have no provider.
  const oidc = await import('openid-client')
  const attempt: Attempt = {
    state: oidc.randomState(),
    nonce: oidc.randomNonce(),
    verifier: oidc.randomPKCECodeVerifier(),
    next,
    untilMs: nowMs + attemptMs,
  }
  const location = oidc.buildAuthorizationUrl(client, {
    redirect_uri: config.redirect,
    scope: config.scope,
    state: attempt.state,
    nonce: attempt.nonce,
    code_challenge: await oidc.calculatePKCECodeChallenge(attempt.verifier),
    code_challenge_method: 'S256',
  })
  const payload = Buffer.from(JSON.stringify(attempt)).toString('base64url')
  const signature = signer.sign(Buffer.from(purpose + payload)).toString('base64url')
  return { location: location.href, kept: `${payload}.${signature}` }
}

/** Reads the cookie of a sign-in. Undefined when it has expired or this installation did not sign it. */
export function readAttempt(signer: Signer, value: string | undefined, nowMs: number): Attempt | undefined {
  const [payload = '', signature = ''] = (value ?? '').split('.')
  if (!signer.verify(Buffer.from(purpose + payload), Buffer.from(signature, 'base64url'))) return undefined
  const attempt = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Attempt
  return attempt.untilMs > nowMs ? attempt : undefined
}

/** Verifies the provider's response. Throws `unauthenticated` for an invalid response and `forbidden` for a user without a role. */
export async function finishSignIn(
  config: OidcConfig,
  { attempt, nowMs }: { attempt: Attempt | undefined; nowMs: number },
  answer: URLSearchParams,
): Promise<SsoIdentity> {
  if (attempt === undefined || answer.get('state') !== attempt.state)
    throw refused('the response belongs to no sign-in of this browser')
  // With its keys of this moment: the library would refuse a new key for a minute, and accept a dropped one for five.
  clients.delete(config.issuer)
  const client = await clientOf(config, nowMs)
  const { authorizationCodeGrant } = await import('openid-client')
  const returned = new URL(`${config.redirect}?${answer}`)
  const { state, nonce, verifier } = attempt
  const checks = { expectedState: state, expectedNonce: nonce, pkceCodeVerifier: verifier }
  try {
    const tokens = await authorizationCodeGrant(client, returned, { ...checks, idTokenExpected: true })
    const claims = tokens.claims()!
    return identityOf(config, { ...(await profileOf(config, client, { claims, tokens })), ...claims })
  } catch (error) {
    throw failureOf(error)
  }
}

/**
 * Returns what the provider tells at its UserInfo endpoint, where the ID token lacks a claim. Providers may put the claims of a scope there
 * alone (OpenID Connect Core, 5.4). Throws when it tells of another subject.
 */
async function profileOf(
  { nameClaim, roleClaim }: OidcConfig,
  client: Configuration,
  { claims, tokens }: { claims: IDToken; tokens: TokenEndpointResponse },
): Promise<object> {
  const used = [nameClaim, roleClaim, ...(nameClaim === 'email' ? ['email_verified'] : [])]
  const isComplete = used.every((claim) => claimOf(claims, claim) !== undefined)
  if (isComplete || client.serverMetadata().userinfo_endpoint === undefined) return {}
  const { fetchUserInfo } = await import('openid-client')
  const { email_verified, ...userInfo } = await fetchUserInfo(client, tokens.access_token, claims.sub)
  // It belongs to the address beside it, which may not be the one of the token.
  return claims['email'] === undefined || claims['email'] === userInfo.email
    ? { ...userInfo, email_verified }
    : userInfo
}

async function clientOf(config: OidcConfig, nowMs: number): Promise<Configuration> {
  const { issuer, clientId, clientSecret } = config
  const known = clients.get(issuer)
  if (known !== undefined && performance.now() - known.readMs < metadataMs) return known.client
  const oidc = await import('openid-client')
  const metadata = {
    [oidc.clockSkew]: Math.round((nowMs - Date.now()) / 1_000),
    [oidc.clockTolerance]: clockToleranceS,
  }
  const authentication = clientSecret === undefined ? oidc.None() : bySecret(oidc, clientSecret)
  const isPlain = issuer.startsWith('http:')
  const execute = [oidc.enableNonRepudiationChecks, ...(isPlain ? [oidc.allowInsecureRequests] : [])]
  try {
    const client = await oidc.discovery(new URL(issuer), clientId, metadata, authentication, {
      execute,
      timeout: timeoutS,
      [oidc.customFetch]: fetchOf(config),
    })
    clients.set(issuer, { client, readMs: performance.now() })
    return client
  } catch (error) {
    throw failureOf(error)
  }
}

/** Sends the secret in the header, or in the body to a provider that takes it there alone (OpenID Connect Discovery, 3). */
function bySecret(
  {
    ClientSecretBasic,
    ClientSecretPost,
  }: Record<'ClientSecretBasic' | 'ClientSecretPost', (secret: string) => ClientAuth>,
  secret: string,
): ClientAuth {
  const [basic, post] = [ClientSecretBasic(secret), ClientSecretPost(secret)]
  return (server, ...rest) => {
    const methods = server.token_endpoint_auth_methods_supported ?? ['client_secret_basic']
    const takesPostAlone = methods.includes('client_secret_post') && !methods.includes('client_secret_basic')
    return (takesPostAlone ? post : basic)(server, ...rest)
  }
}

/**
 * The provider's metadata names further addresses. Those of the issuer's own origin are as trusted as the issuer, which the environment
 * names; others must be public.
 */
function fetchOf({ issuer, privateHosts }: OidcConfig): CustomFetch {
  const { origin } = new URL(issuer)
  return async (address, { method, headers, body }) => {
    const answer = await outgoingFetch(address, {
      method,
      headers,
      body: body instanceof URLSearchParams ? body.toString() : (body as string | Uint8Array | undefined),
      privateHosts: new URL(address).origin === origin ? 'all' : privateHosts,
      maxBytes,
      maxMs: timeoutS * 1_000,
    })
    const { status } = answer
    const bytes = await answer.bytes()
    const isEmpty = [204, 205, 304].includes(status)
    return new Response(isEmpty ? null : new Uint8Array(bytes), { status, headers: [...answer.headers] })
  }
}

function identityOf({ nameClaim, roleClaim, roles }: OidcConfig, claims: IDToken): SsoIdentity {
  const name = claims[nameClaim]
  if (typeof name !== 'string' || !/^[\w.@+-]{1,90}$/.test(name))
    throw refused(
      `the identity has no ${nameClaim} that could be a name: ${typeof name === 'string' ? `${JSON.stringify(name.slice(0, 90))} has other characters than a–z, 0–9 and _.@+-` : 'the claim is absent'}, so name users by another claim in TENURE_OIDC_NAME_CLAIM`,
    )
  if (nameClaim === 'email' && claims['email_verified'] !== true)
    throw refused(
      'the email address of the identity is not verified: the claim email_verified is not true, so name users by another claim in TENURE_OIDC_NAME_CLAIM',
    )
  const claimed = claimOf(claims, roleClaim)
  const groups = groupsOf(claimed)
  const role = roles.find(([group]) => groups.has(group))?.[1]
  if (role === undefined)
    throw new DomainError(
      'forbidden',
      `${name} has no role by the claim ${roleClaim}: ${whyNone(claims, roleClaim, claimed)}`,
      { withoutRole: { issuer: claims.iss, subject: claims.sub } },
    )
  return { issuer: claims.iss, subject: claims.sub, name, role }
}

/** A claim by its name, or within others as in `realm_access.roles` of Keycloak. */
function claimOf(claims: object, name: string): unknown {
  const own = (fields: unknown, key: string): unknown =>
    typeof fields === 'object' && fields !== null && Object.hasOwn(fields, key)
      ? (fields as Record<string, unknown>)[key]
      : undefined
  return own(claims, name) ?? name.split('.').reduce<unknown>(own, claims)
}

/** A list, a single text, or the keys of an object, as Zitadel gives roles. */
function groupsOf(claimed: unknown): ReadonlySet<string> {
  if (Array.isArray(claimed)) return new Set(claimed.map(String))
  if (typeof claimed === 'object' && claimed !== null) return new Set(Object.keys(claimed))
  return new Set(typeof claimed === 'string' ? [claimed] : [])
}

const maxGroups = 10

function whyNone(claims: IDToken, name: string, claimed: unknown): string {
  const elsewhere = claimOf(claims, '_claim_names')
  if (claimed === undefined && typeof elsewhere === 'object' && elsewhere !== null && name in elsewhere)
    return 'the provider gives an address in place of so many groups, so let it give the groups of this application alone, or map app roles'
  if (claimed === undefined) return 'the claim is absent'
  const groups = [...groupsOf(claimed)]
  if (typeof claimed === 'string' && /[\s,;]/.test(claimed))
    return `it is one text, ${JSON.stringify(claimed.slice(0, 200))}, so let the provider give a list of groups`
  return groups.length === 0
    ? 'it names no group'
    : `TENURE_OIDC_ROLES names none of ${groups
        .slice(0, maxGroups)
        .map((each) => JSON.stringify(each.slice(0, 100)))
        .join(', ')}`
}

/** Translates an error of the library for the user. Matches its classes by code, because the library is loaded on first use. */
function failureOf(error: unknown): Error {
  const { code, status, cause, message, error: reason } = error as Partial<LibraryError>
  for (const each of [error, cause]) if (each instanceof DomainError) return each
  const httpStatus = status ?? (cause instanceof Response ? cause.status : undefined)
  // fetch throws a TypeError when it gets no response.
  if (error instanceof TypeError || code === 'OAUTH_TIMEOUT' || (httpStatus ?? 0) >= 500)
    return new DomainError('not_ready', `the identity provider does not respond: ${message}`)
  if (code === 'OAUTH_AUTHORIZATION_RESPONSE_ERROR')
    return refused(`the identity provider says ${/^[a-z_]{1,40}$/.exec(reason ?? '')?.[0] ?? 'no'}`)
  if (httpStatus !== undefined) {
    const said = /^[\w-]{1,40}$/.exec(reason ?? '')?.[0]
    return refused(
      `the identity provider refuses with ${httpStatus}${said === undefined ? '' : ` (${said})`}`,
    )
  }
  const { expected, body } = (cause ?? {}) as { expected?: unknown; body?: { issuer?: unknown } }
  if (typeof expected === 'string' && typeof body?.issuer === 'string')
    return refused(
      `the identity provider names the issuer ${body.issuer.slice(0, 200)}, and TENURE_OIDC_ISSUER is ${expected.slice(0, 200)}: write it there as the provider does`,
    )
  return refused(`the identity cannot be verified: ${cause instanceof Error ? cause.message : message}`)
}

interface LibraryError extends Error {
  code: string
  status: number
  /** The OAuth error code. */
  error: string
}

const refused = (why: string): DomainError => new DomainError('unauthenticated', why)
