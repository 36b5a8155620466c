/** Runs an OpenID Connect provider that signs real tokens and checks PKCE; tests tamper with its tokens. */
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'

export interface TestProvider {
  issuer: string
  /** Additional claims of the next token. */
  claims: Record<string, unknown>
  /** Defects of the next token. */
  cheat: Partial<{ issuer: string; audience: string; nonce: string; expired: boolean; unknownKey: boolean }>
  /** What the UserInfo endpoint tells, beside the subject of the token. */
  userInfo: Record<string, unknown>
  /** Logs in like a browser and returns the path that the provider redirects to. */
  logIn(address: string): Promise<string>
  close(): Promise<void>
}

export const clientId = 'tenure'
export const clientSecret = 'a secret: of two'

export async function startProvider(): Promise<TestProvider> {
  const [own, foreign] = await Promise.all([generateKeyPair('ES256'), generateKeyPair('ES256')])
  const jwk = { ...(await exportJWK(own.publicKey)), kid: 'one', alg: 'ES256', use: 'sig' }
  /** Code → parameters of its authorization request. */
  const codes = new Map<string, URLSearchParams>()
  const server = createServer((request, response) => {
    const send = (status: number, body: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    answer(request).then(
      (body) => send(body === undefined ? 400 : 200, body ?? { error: 'invalid_grant' }),
      () => send(500, {}),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  const { port } = server.address() as { port: number }
  const issuer = `http://127.0.0.1:${port}`

  async function answer(request: IncomingMessage): Promise<unknown> {
    const { pathname } = new URL(request.url ?? '/', issuer)
    if (pathname === '/keys') return { keys: [jwk] }
    if (pathname === '/.well-known/openid-configuration')
      return {
        issuer,
        authorization_endpoint: `${issuer}/authorize`,
        token_endpoint: `${issuer}/token`,
        userinfo_endpoint: `${issuer}/userinfo`,
        jwks_uri: `${issuer}/keys`,
        id_token_signing_alg_values_supported: ['ES256'],
      }
    if (pathname === '/userinfo')
      return request.headers.authorization === 'Bearer of-the-user'
        ? { sub: 'subject', ...provider.userInfo }
        : undefined
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    const form = new URLSearchParams(Buffer.concat(parts).toString())
    const asked = codes.get(form.get('code') ?? '')
    codes.delete(form.get('code') ?? '')
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url')
    const [, basic = ''] = /^Basic (.+)$/.exec(request.headers.authorization ?? '') ?? []
    // Both parts are form-encoded (RFC 6749, 2.3.1).
    const pair = new URLSearchParams(Buffer.from(basic, 'base64').toString().replace(':', '='))
    const known = pair.get(clientId) === clientSecret
    if (asked === undefined || challenge !== asked.get('code_challenge') || !known) return undefined
    return { access_token: 'of-the-user', token_type: 'Bearer', id_token: await tokenFor(asked) }
  }

  const tokenFor = (asked: URLSearchParams): Promise<string> => {
    const { cheat, claims } = provider
    return new SignJWT({ nonce: cheat.nonce ?? asked.get('nonce'), ...claims })
      .setProtectedHeader({ alg: 'ES256', kid: 'one' })
      .setIssuer(cheat.issuer ?? issuer)
      .setAudience(cheat.audience ?? clientId)
      .setSubject(String(claims['sub'] ?? 'subject'))
      .setIssuedAt()
      .setExpirationTime(cheat.expired ? '-1 hour' : '5 minutes')
      .sign(cheat.unknownKey ? foreign.privateKey : own.privateKey)
  }

  const provider: TestProvider = {
    issuer,
    claims: {},
    userInfo: {},
    cheat: {},
    async logIn(address) {
      const asked = new URL(address).searchParams
      const code = `code-${codes.size}-${Math.random()}`
      codes.set(code, asked)
      const { pathname } = new URL(asked.get('redirect_uri')!)
      return `${pathname}?${new URLSearchParams({ code, state: asked.get('state')! })}`
    },
    close: () => new Promise((resolve) => server.close(() => resolve())),
  }
  return provider
}
