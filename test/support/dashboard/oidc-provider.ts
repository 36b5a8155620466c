/**
 * Runs the certified OpenID Connect provider of the package `oidc-provider`, and logs in at its pages like a browser. Tests choose its claims,
 * replace its signing key, set its clock, take it away, and tamper with its tokens.
 */
import { createServer } from 'node:http'
import { decodeJwt, exportJWK, generateKeyPair, SignJWT, type CryptoKey } from 'jose'
import Provider from 'oidc-provider'

export interface TestProvider {
  issuer: string
  /** Claims of the next token, beside its subject. */
  claims: Record<string, unknown>
  /** Defects of the next token. */
  cheat: Partial<{
    issuer: string
    audience: string
    nonce: string
    expired: boolean
    unknownKey: boolean
    formerKey: boolean
  }>
  /** What the UserInfo endpoint tells, beside the subject of the token. */
  userInfo: Record<string, unknown>
  /** How far its clock is ahead when it signs, in seconds. */
  skewS: number
  /** Whether it answers with 503. */
  isAway: boolean
  /** Replaces the signing key by one with another id. */
  rotate(): Promise<void>
  /** Logs in like a browser and returns the path that the provider redirects to. */
  logIn(address: string): Promise<string>
  close(): Promise<void>
}

export const clientId = 'tenure'
export const clientSecret = 'a secret: of two'
/** Another client of the provider. */
export const otherClient = 'another'
export const redirect = 'http://localhost:7400/sign-in/callback'
/** How long an ID token is valid, in seconds. */
export const tokenS = 120
const alg = 'ES256'

export async function startProvider(): Promise<TestProvider> {
  let handle: ReturnType<Provider['callback']>
  const server = createServer((request, response) => {
    if (provider.isAway) return void response.writeHead(503).end()
    void handle(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  const { port } = server.address() as { port: number }
  const issuer = `http://127.0.0.1:${port}`
  const foreign = await generateKeyPair(alg)
  let rotations = 0
  let latest: { privateKey: CryptoKey; kid: string } | undefined

  const kept = new Map<string, Record<string, unknown>>()
  /** Stores what users have begun, beyond a change of the key. */
  const adapter = (kind: string) => ({
    upsert: async (id: string, payload: object) => void kept.set(`${kind} ${id}`, { ...payload }),
    find: async (id: string) => kept.get(`${kind} ${id}`),
    findByUid: async (uid: string) =>
      [...kept].find(([name, payload]) => name.startsWith(`${kind} `) && payload['uid'] === uid)?.[1],
    consume: async (id: string) =>
      void (kept.get(`${kind} ${id}`)!['consumed'] = Math.floor(Date.now() / 1_000)),
    destroy: async (id: string) => void kept.delete(`${kind} ${id}`),
    revokeByGrantId: async (grantId: string) => {
      for (const [name, payload] of kept) if (payload['grantId'] === grantId) kept.delete(name)
    },
  })

  /** Starts a provider with a new key in place of the one before. */
  async function rotate(): Promise<void> {
    const { privateKey } = await generateKeyPair(alg, { extractable: true })
    const kid = `key-${++rotations}`
    const former = latest
    latest = { privateKey, kid }
    const clients = [clientId, otherClient].map((id) => ({
      client_id: id,
      client_secret: clientSecret,
      redirect_uris: [redirect],
      id_token_signed_response_alg: alg,
    }))
    const certified = new Provider(issuer, {
      clients,
      adapter,
      jwks: { keys: [{ ...(await exportJWK(privateKey)), kid, alg, use: 'sig' }] },
      cookies: { keys: ['of the tests'] },
      claims: {
        openid: ['sub', 'groups', 'realm_access', '_claim_names'],
        email: ['email', 'email_verified'],
        profile: ['name'],
      },
      conformIdTokenClaims: false,
      pkce: { required: () => true },
      ttl: {
        IdToken: tokenS,
        AuthorizationCode: 600,
        AccessToken: 600,
        Grant: 600,
        Session: 600,
        Interaction: 600,
      },
      findAccount: (_: unknown, accountId: string) => ({
        accountId,
        claims: (use: string) => ({
          ...(use === 'userinfo' ? provider.userInfo : provider.claims),
          sub: accountId,
        }),
      }),
    })
    certified.use(async (context, next) => {
      await next()
      if (context.status !== 200) return
      if (context.path === '/me') Object.assign(context.body, provider.userInfo)
      const { cheat, skewS } = provider
      if (context.path !== '/token' || (Object.keys(cheat).length === 0 && skewS === 0)) return
      const claims = decodeJwt(String(context.body['id_token']))
      const atS = (seconds = 0) => (cheat.expired ? -3_600 : seconds + skewS)
      context.body['id_token'] = await new SignJWT({ ...claims, nonce: cheat.nonce ?? claims['nonce'] })
        .setProtectedHeader({ alg, kid: cheat.formerKey ? former!.kid : kid })
        .setIssuer(cheat.issuer ?? issuer)
        .setAudience(cheat.audience ?? clientId)
        .setIssuedAt(claims.iat! + atS())
        .setExpirationTime(claims.exp! + atS())
        .sign(cheat.unknownKey ? foreign.privateKey : cheat.formerKey ? former!.privateKey : privateKey)
    })
    handle = certified.callback()
  }

  const provider: TestProvider = {
    issuer,
    claims: {},
    userInfo: {},
    cheat: {},
    skewS: 0,
    isAway: false,
    rotate,
    async logIn(address) {
      const cookies = new Map<string, string>()
      let at = new URL(address)
      let form: URLSearchParams | undefined
      while (at.origin === issuer) {
        const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
        const answer: Response = await fetch(at, {
          redirect: 'manual',
          headers: { cookie },
          ...(form && { method: 'POST', body: form }),
        })
        form = undefined
        for (const set of answer.headers.getSetCookie()) {
          const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(set) ?? []
          cookies.set(name, value)
        }
        const next = answer.headers.get('location')
        const page = await answer.text()
        if (next !== null) at = new URL(next, at)
        else {
          const prompt = /name="prompt" value="(\w+)"/.exec(page)?.[1]
          if (prompt === undefined) throw new Error(`${at.href}: ${answer.status} ${page}`)
          form = new URLSearchParams({
            prompt,
            login: String(provider.claims['sub'] ?? 'subject'),
            password: 'any',
          })
        }
      }
      return `${at.pathname}${at.search}`
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  await rotate()
  return provider
}
