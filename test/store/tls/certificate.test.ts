/** Tests certificate files: the messages of refusals, and reloading. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createPlainServer } from 'node:http'
import { createServer } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkCertificate } from '../../../cli/doctor/api.ts'
import { createClient } from '../../../cli/client/client.ts'
import { createApiFetch } from '../../../store/tls/api-fetch.ts'
import { readCertificate, watchCertificate } from '../../../store/tls/certificate.ts'
import { checkout, systemEnvironment } from '../../../temporal.config.ts'
import {
  createAuthority,
  replaceCertificate,
  type CertificateAuthority,
  type IssuedCertificate,
} from '../../support/signing/certificates.ts'
import { serve } from '../../../packages/http-front/test/support/sockets.ts'
import { until } from '../../support/serving/serving-fixture.ts'

const directory = mkdtempSync(join(tmpdir(), 'tenure-certificates-'))
let authority: CertificateAuthority
let used: IssuedCertificate
let other: IssuedCertificate
beforeAll(() => {
  authority = createAuthority(directory)
  used = authority.issue('used')
  other = authority.issue('other', 'DNS:other.test')
})
afterAll(() => rmSync(directory, { recursive: true }))

const dayMs = 86_400_000

describe('a certificate of the API', () => {
  it('is refused with the setting, the file and the reason', () => {
    const empty = join(directory, 'empty.pem')
    writeFileSync(empty, 'nothing')
    const refusal = (settings: Parameters<typeof readCertificate>[0], nowMs?: number): string => {
      try {
        readCertificate(settings, nowMs)
        return 'accepted'
      } catch (error) {
        return (error as Error).message.replaceAll(`${directory}/`, '')
      }
    }
    const absent = join(directory, 'absent.pem')
    expect(refusal(used)).toBe('accepted')
    expect(refusal({ ...used, cert: absent })).toMatch(/^TENURE_TLS_CERT: absent.pem cannot be read: ENOENT/)
    expect(refusal({ ...used, key: absent })).toMatch(/^TENURE_TLS_KEY: absent.pem cannot be read: ENOENT/)
    expect(refusal({ ...used, cert: empty })).toBe(
      'TENURE_TLS_CERT: empty.pem does not hold a certificate in PEM',
    )
    expect(refusal({ ...used, key: empty })).toBe(
      'TENURE_TLS_KEY: empty.pem does not hold a private key in PEM without a passphrase',
    )
    expect(refusal({ ...used, clientCa: empty })).toBe(
      'TENURE_TLS_CLIENT_CA: empty.pem does not hold a certificate in PEM',
    )
    expect(refusal({ ...used, key: other.key })).toBe(
      'TENURE_TLS_KEY: the key in other.key does not belong to the first certificate in used.pem',
    )
    expect(refusal(used, Date.now() + 21 * dayMs)).toMatch(
      /^TENURE_TLS_CERT: the certificate in used.pem ended on \d{4}-\d\d-\d\d$/,
    )
    expect(refusal(used, Date.now() - 2 * dayMs)).toMatch(
      /^TENURE_TLS_CERT: the certificate in used.pem begins on \d{4}-\d\d-\d\d$/,
    )
  })

  it('is reported by tenure doctor before it ends', () => {
    const stateIn = (days: number) => checkCertificate(used, Date.now() + days * dayMs).state
    expect([0, 5, 7, 19, 21].map(stateIn)).toEqual(['ok', 'ok', 'warning', 'warning', 'broken'])
  })

  it('is read again when its files have changed, and stays while they do not match', async () => {
    const live = authority.issue('live')
    const issues: string[] = []
    const watch = watchCertificate(live, { everyMs: 5, onError: (error) => issues.push(error.message) })
    const before = watch.current().cert
    const seen: Buffer[] = []
    watch.subscribe(({ cert }) => seen.push(cert))
    try {
      writeFileSync(live.key, readFileSync(other.key))
      await until(() => issues.length > 0, 'the mismatch to be told')
      expect(issues[0]).toMatch(/does not belong to/)
      expect(watch.current().cert).toBe(before)
      replaceCertificate(live, other)
      await until(() => seen.length > 0, 'the new certificate')
      expect(seen.at(-1)).toEqual(readFileSync(live.cert))
    } finally {
      watch.stop()
    }
  })
})

describe('a call to the API by HTTPS', () => {
  const start = async (issued: IssuedCertificate): Promise<string> => {
    const files = { cert: readFileSync(issued.cert), key: readFileSync(issued.key) }
    const server = createServer(files, (request, response) => {
      void text(request).then((body) => response.end(JSON.stringify({ body })))
    })
    return `https://127.0.0.1:${await serve(server)}`
  }
  const answerOf = (url: string, trust: Parameters<typeof createApiFetch>[0]) =>
    createClient({ url, call: createApiFetch(trust) }).post('/')

  it('trusts the authority of TENURE_TLS_CA, and checks the name', async () => {
    expect(await answerOf(await start(used), { ca: authority.ca })).toEqual({ body: '{}' })
    await expect(answerOf(await start(other), { ca: authority.ca })).rejects.toThrow(
      /^the certificate of https:\S+ is not trusted \(ERR_TLS_CERT_ALTNAME_INVALID\)$/,
    )
  })

  it('trusts the certificate of this machine under any name, and no other of its authority', async () => {
    expect(await answerOf(await start(other), { own: other.cert })).toEqual({ body: '{}' })
    await expect(answerOf(await start(used), { own: other.cert })).rejects.toThrow(/is not trusted/)
  })

  it('refuses an authority that is not known, and names the setting', async () => {
    const failed = answerOf(await start(used), {}).catch((error: unknown) => error)
    expect(await failed).toMatchObject({
      message: expect.stringMatching(/is not trusted \(UNABLE_TO_VERIFY_LEAF_SIGNATURE\)/),
      problem: { code: 'unreachable', remedy: expect.stringContaining('TENURE_TLS_CA') },
    })
  })

  it('names a file that holds no certificate, a key of another certificate, and an address of the other kind', async () => {
    const url = await start(used)
    const problemOf = (at: string, trust: Parameters<typeof createApiFetch>[0]) =>
      answerOf(at, trust).then(
        () => 'answered',
        ({ message, problem }: { message: string; problem?: { remedy: string } }) =>
          `${message}. ${problem?.remedy ?? ''}`,
      )
    expect(await problemOf(url, { ca: used.key })).toContain(
      `TENURE_TLS_CA: ${used.key} does not hold a certificate in PEM`,
    )
    expect(await problemOf(url, { ca: authority.ca, cert: used.cert, key: other.key })).toContain(
      `TENURE_CLIENT_KEY: the key in ${other.key} does not belong to the first certificate in ${used.cert}`,
    )
    expect(await problemOf(url, { ca: authority.ca, cert: used.cert, key: used.cert })).toContain(
      `TENURE_CLIENT_KEY: ${used.cert} does not hold a private key`,
    )
    expect(await problemOf(url.replace('https:', 'http:'), {})).toContain('Write https:// in TENURE_URL')
    const plain = `https://127.0.0.1:${await serve(createPlainServer((_, response) => response.end('{}')))}`
    expect(await problemOf(plain, { ca: authority.ca })).toMatch(/does not speak HTTPS .*Write http:\/\//)
  })

  it('is made by a compiled command', async () => {
    const url = await start(used)
    const asks = (settings: Record<string, string>) =>
      new Promise<string>((resolve) => {
        const env = { ...systemEnvironment(), TENURE_STATE: directory, TENURE_URL: url, ...settings }
        const command = join(checkout, 'cli', 'tenure.mjs')
        execFile(process.execPath, [command, 'keys', 'list', '--json'], { env }, (_, out, err) =>
          resolve(out + err),
        )
      })
    expect(await asks({ TENURE_TLS_CA: authority.ca })).toContain('"body": ""')
    expect(await asks({})).toContain('UNABLE_TO_VERIFY_LEAF_SIGNATURE')
  })

  it('sends forms with files', async () => {
    const form = new FormData()
    form.append('name', 'iris')
    form.append('file', new File(['weights'], 'model.bin'))
    const client = createClient({ url: await start(used), call: createApiFetch({ ca: authority.ca }) })
    const { body } = await client.postForm<{ body: string }>('/', form)
    expect(body).toMatch(
      /name="name"\r\n\r\niris\r\n[^]*name="file"; filename="model.bin"[^]*\r\n\r\nweights/,
    )
  })

  it('reads its own certificate again when it is renewed', async () => {
    const live = authority.issue('renewed')
    const call = createApiFetch({ own: live.cert })
    expect((await call(await start(live))).status).toBe(200)
    replaceCertificate(live, authority.issue('renewal'))
    expect((await call(await start(live))).status).toBe(200)
  })
})
