/**
 * Tests every place that calls another system (read from the sources) against hostile addresses and hostile servers. A place without an
 * entry in `places` fails, so that a new one is tested too.
 */
import type { LookupAllOptions } from 'node:dns'
import type * as Dns from 'node:dns'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { createServer as createTcpServer, isIP, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { withSourceCopies } from '../../activities/data/source-copies.ts'
import { sendRequest } from '../../store/integrations/http-request.ts'
import type { Message } from '../../activities/alerts/delivery/message.ts'
import { send } from '../../activities/alerts/delivery/send.ts'
import { finishSignIn } from '../../api/auth/oidc.ts'
import { respond } from '../../api/services/chat/slack-interaction.ts'
import type { ChannelTarget } from '../../domain/monitoring/alert-escalation.ts'
import { parseChannel } from '../../store/monitoring/alert-channels.ts'
import { openArtifacts } from '../../store/artifacts.ts'
import { openHaproxy } from '../../store/gateways/haproxy.ts'
import { openKubernetes } from '../../store/gateways/kubernetes.ts'
import { createEndpointClient } from '../../store/endpoint-client.ts'
import { openS3Store } from '../../store/objects/s3/s3-store.ts'
import { createGuard, type PrivateHosts } from '../../store/outgoing-address.ts'
import { outgoingFetch, outgoingPost } from '../../store/outgoing-fetch.ts'
import { readConfig } from '../../temporal.config.ts'
import { placesOfClient } from '../tidy/network.ts'
import { readSources } from '../tidy/source.ts'

/** The addresses of names of this test. Every other name is resolved by the system. */
const resolved = vi.hoisted(() => new Map<string, string[]>())
vi.mock('node:dns', async (original) => {
  const real = await original<typeof Dns>()
  const lookup = (name: string, options: LookupAllOptions, done: (...found: unknown[]) => void) => {
    const found = resolved.get(name)
    if (found === undefined) return real.lookup(name, options, done)
    done(
      null,
      found.map((address) => ({ address, family: isIP(address) })),
    )
  }
  return { ...real, lookup }
})

const folder = mkdtempSync(join(tmpdir(), 'tenure-outgoing-'))
const artifacts = openArtifacts(folder)
const excerpt = 'AKIA-from-the-answer'
const servers: Server[] = []
/** Connections to the server that no test allows. */
let reached = 0
let written = 0
/** The authority of a server with each answer, of a server that counts its requests, and of none. */
let hostile: string
let inner: string
let closed: string

async function listen(
  host: string,
  answer: (path: string, response: ServerResponse) => void,
): Promise<string> {
  const server = createServer((request, response) => {
    request.resume()
    answer(request.url ?? '', response)
  }).listen(0, host)
  servers.push(server)
  await once(server, 'listening')
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Answers by the part of the path that tells what to do: `/status-404`, `/to-302-<authority>`, `/endless`, `/bomb`. */
function answer(path: string, response: ServerResponse): void {
  const [, issuer] = /^\/(metadata\/[^/]+\/[^/]+)\/\.well-known/.exec(path) ?? []
  if (issuer !== undefined) return void response.end(JSON.stringify(metadataOf(issuer)))
  const [, status, to] = /\/to-(\d+)-([^/?]+)/.exec(path) ?? []
  if (status !== undefined)
    return void response
      .writeHead(Number(status), { location: `http://${decodeURIComponent(to ?? '')}/${excerpt}` })
      .end(excerpt)
  const said = /\/status-(\d+)/.exec(path)?.[1]
  if (said !== undefined) {
    const body = { message: excerpt, error: excerpt, error_code: excerpt, errorType: excerpt, value: excerpt }
    const xml = `<Error><Code>${excerpt}</Code><Message>${excerpt}</Message></Error>`
    return void response
      .writeHead(Number(said), { 'x-amz-bucket-region': `${excerpt} ` })
      .end(/bucket/.test(path) ? xml : JSON.stringify(body))
  }
  if (/\/bomb/.test(path)) {
    const zipped = gzipSync(Buffer.alloc(50_000_000))
    return void response.writeHead(200, { 'content-encoding': 'gzip' }).end(zipped)
  }
  const chunk = Buffer.alloc(65_536, 'a,b\n')
  const more = (): void => {
    while (!response.destroyed && written < 300e6) {
      written += chunk.length
      if (!response.write(chunk)) return void response.once('drain', more)
    }
    response.end()
  }
  more()
}

/** The metadata of a provider whose token endpoint is the second part of its path. */
function metadataOf(issuer: string): object {
  const token_endpoint = decodeURIComponent(issuer.split('/')[2] ?? '')
  const own = `http://${hostile}/${issuer}`
  return { issuer: own, token_endpoint, authorization_endpoint: own, jwks_uri: token_endpoint }
}

beforeAll(async () => {
  hostile = await listen('127.0.0.1', answer)
  inner = await listen('::', (_path, response) => {
    reached++
    response.end('{}')
  })
  const gone = createTcpServer().listen(0, '127.0.0.1')
  await once(gone, 'listening')
  closed = String((gone.address() as AddressInfo).port)
  gone.close()
})
afterAll(() => {
  for (const server of servers) {
    server.closeAllConnections()
    server.close()
  }
  rmSync(folder, { recursive: true })
})

const message = {
  id: 'msg_1',
  about: 'raised',
  runbook: 'https://runbooks.example/quality-lost.md',
  alert: {
    id: 'alr_1',
    dedupeKey: 'quality/iris',
    kind: 'quality_lost',
    severity: 'critical',
    message: 'auc is 0.6',
    raisedAt: '2001-01-01T00:00:00.000Z',
  },
} as unknown as Message

interface Place {
  /** Calls `http://<authority><path>`. */
  call(authority: string, path: string, privateHosts: string[]): Promise<unknown>
  /** Whether the operator of the machine names the address, which may then be private. */
  isTrusted?: true
  /** Whether the call speaks another protocol than HTTP. */
  isMail?: true
}

const channel =
  (targetOf: (url: string) => ChannelTarget) =>
  (authority: string, path: string, privateHosts: PrivateHosts): Promise<void> =>
    send(targetOf(`http://${authority}${path}`), message, privateHosts)
let providers = 0

/** File → what it calls. */
const places: Record<string, Record<string, Place>> = {
  'activities/data/source-copies.ts': {
    'a file of a source': {
      call: (authority, path, privateHosts) =>
        withSourceCopies(
          { artifacts, config: { s3: undefined, privateHosts, sourceFileMb: 1 } },
          { source: { files: { rows: `http://${authority}${path}` } }, writeRows: () => Promise.resolve() },
          () => Promise.resolve(),
        ),
    },
  },
  'activities/alerts/delivery/send.ts': {
    slack: { call: channel((url) => ({ kind: 'slack', url })) },
    teams: { call: channel((url) => ({ kind: 'teams', url })) },
    webhook: { call: channel((url) => ({ kind: 'webhook', url })) },
    alertmanager: { call: channel((url) => ({ kind: 'alertmanager', url })) },
    pagerduty: { call: channel((url) => ({ kind: 'pagerduty', url, routingKey: 'r'.repeat(32) })) },
    opsgenie: { call: channel((url) => ({ kind: 'opsgenie', url, apiKey: 'k'.repeat(36) })) },
    email: {
      isMail: true,
      call: (authority, _path, privateHosts) =>
        send(
          { kind: 'email', smtp: `smtp://${authority}`, from: 'a@example.org', to: ['b@example.org'] },
          message,
          privateHosts,
        ),
    },
  },
  'api/auth/oidc.ts': {
    'an endpoint that a provider names': {
      call: (authority, path, privateHosts) => {
        const endpoint = encodeURIComponent(`http://${authority}${path}`)
        const issuer = `http://${hostile}/metadata/${++providers}/${endpoint}`
        const attempt = { state: 's', nonce: 'n', verifier: 'v'.repeat(43), next: '/', untilMs: Infinity }
        const config = {
          issuer,
          clientId: 'tenure',
          redirect: 'http://localhost/sign-in/callback',
          scope: 'openid',
          nameClaim: 'sub',
          roleClaim: 'groups',
          roles: [],
          keyDays: 1,
          privateHosts,
        }
        const nowMs = Date.now()
        return finishSignIn(config, { attempt, nowMs }, new URLSearchParams({ code: 'c', state: 's' }))
      },
    },
  },
  'store/integrations/http-request.ts': {
    'a mirror or a metric source': {
      isTrusted: true,
      call: (authority, path) => sendRequest({ url: `http://${authority}` }, { method: 'GET', path }),
    },
  },
  'api/services/chat/slack-interaction.ts': {
    'the answer to a click': {
      isTrusted: true,
      call: (authority, path) => respond(`http://${authority}${path}`, 'text'),
    },
  },
  'store/gateways/haproxy.ts': {
    'the runtime socket of a gateway': {
      // Its language is that of HAProxy.
      isMail: true,
      call: (authority, _path, privateHosts) => {
        const { port } = new URL(`http://${authority}`)
        const address = port === '' ? `${authority}:80` : authority
        return openHaproxy({ address, backend: 'b' }, [...privateHosts]).read()
      },
    },
  },
  'store/gateways/kubernetes.ts': {
    'the API server of a gateway': {
      call: (authority, path, privateHosts) => {
        const server = `http://${authority}`
        const place = join(folder, 'kubernetes', new URL(server).host)
        mkdirSync(place, { recursive: true })
        for (const name of ['token', 'ca.crt']) writeFileSync(join(place, name), 'secret')
        const access = { privateHosts: [...privateHosts], secrets: folder, metricSources: folder }
        return openKubernetes(server, access).get(path, 'an object', z.object({}))
      },
    },
  },
  'store/endpoint-client.ts': {
    'the endpoint of a version': {
      // Its caller keeps the status of an answer and nothing else.
      call: (authority, path, privateHosts) =>
        createEndpointClient({ privateHosts: [...privateHosts], secrets: folder })
          .ask({
            address: `http://${authority}${path}`,
            headers: {},
            body: '{}',
            maxBytes: 100_000,
            maxMs: 60_000,
          })
          .then(({ status, body }) => {
            throw new Error(`status ${status}, ${Buffer.from(body).toString()}`)
          }),
    },
  },
  'store/objects/s3/s3-store.ts': {
    'an object store': {
      isTrusted: true,
      call: (authority, path) =>
        openS3Store(
          {
            kind: 's3',
            bucket: 'bucket',
            prefix: '',
            endpoint: `http://${authority}`,
            region: 'eu-west-1',
            pathStyle: true,
            credentials: () => ({ accessKeyId: 'a', secretAccessKey: 'b' }),
          },
          { limits: { attempts: 1, silentMs: 60_000, pauseMs: 1 } },
        ).get(path.slice(1), 1_000_000),
    },
  },
}
const all = Object.values(places).flatMap((calls) => Object.entries(calls))
const untrusted = all.filter(([, { isTrusted }]) => isTrusted !== true)
const byHttp = all.filter(([, { isMail }]) => isMail !== true)

/** Everything that an error tells, and could therefore be stored. */
function textOf(error: unknown): string {
  if (!(error instanceof Error)) return JSON.stringify(error)
  const { cause, stack, message: text, ...rest } = error
  return `${text} ${stack} ${JSON.stringify(rest)} ${cause === undefined ? '' : textOf(cause)}`
}
const failureOf = (called: Promise<unknown>): Promise<unknown> =>
  called.then(
    (value) => ({ value }),
    (error: unknown) => error,
  )

it('every place that calls another system is in this test', () =>
  expect(Object.keys(places).sort()).toEqual(placesOfClient(readSources('outgoing-')).sort()))

const addresses = `
  127.0.0.1 127.1 2130706433 0x7f000001 0x7f.1 0177.0.0.1 0.0.0.0 localhost
  LOCALHOST [::1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1] [::127.0.0.1] 169.254.169.254 10.0.0.1
  172.16.0.1 172.31.255.255 192.168.0.1 100.64.0.1 198.18.0.1 192.0.0.192 224.0.0.1 255.255.255.255
  [fd00::1] [fe80::1] [fec0::1] [ff02::1] [64:ff9b::7f00:1] [2002:7f00:1::] [2001::1] [::ffff:0:127.0.0.1] [::ffff:169.254.169.254] [::ffff:a00:1]
  [64:ff9b:1::1] [5f00::1] [2001:db8::1] [3fff::1] [fd00:ec2::254] [100::1] 0 0x0 017700000001 127.0.1
  240.0.0.1 192.88.99.1 203.0.113.1`
  .trim()
  .split(/\s+/)

describe.each(untrusted)('%s', (_name, { call }) => {
  it.each(addresses)('does not reach the private address %s', async (host) => {
    const port = inner.split(':')[1] ?? ''
    reached = 0
    await expect(call(`${host}:${port}`, '/', [])).rejects.toMatchObject({ code: 'address_not_allowed' })
    expect(reached).toBe(0)
  })

  it.each([
    ['one of several', ['93.184.215.14', '10.0.0.1']],
    ['an IPv4-mapped one', ['::ffff:127.0.0.1']],
    ['that of the metadata of a cloud', ['169.254.169.254']],
    ['a link-local one with its zone', ['fe80::1%lo']],
  ])('does not reach a name whose address is private: %s', async (_what, found) => {
    resolved.set('changed.example', found)
    const port = inner.split(':')[1] ?? ''
    reached = 0
    const called = call(`changed.example:${port}`, '/', ['other.example'])
    await expect(called).rejects.toMatchObject({ code: 'address_not_allowed' })
    expect(reached).toBe(0)
  })

  it('reaches no private address by a list with the name `all`, also after a call of a trusted address', async () => {
    await outgoingFetch(`http://${inner}/`, { privateHosts: 'all', maxBytes: 10, maxMs: 60_000 }).then(
      (answered) => answered.discard(),
    )
    reached = 0
    await expect(call(inner, '/', ['all'])).rejects.toMatchObject({ code: 'address_not_allowed' })
    expect(reached).toBe(0)
  })

  it.each([['localhost'], ['127.0.0.0/8'], ['127.0.0.1', '::1'], ['.localhost', 'LocalHost', '10.0.0.0/8']])(
    'reaches it when TENURE_PRIVATE_HOSTS lists %s',
    async (...listed) => {
      const { privateHosts } = readConfig({
        DATABASE_URL: 'postgres://127.0.0.1/tenure',
        HOME: '/nowhere',
        TENURE_PRIVATE_HOSTS: [...listed, '::1'].join(', '),
      })
      const host = listed.some((each) => /localhost/i.test(each)) ? 'localhost' : '127.0.0.1'
      const error = await failureOf(call(`${host}:${closed}`, '/', privateHosts))
      expect(textOf(error)).not.toContain('TENURE_PRIVATE_HOSTS')
      expect(textOf(error)).toMatch(/ECONNREFUSED|provider does not respond/)
    },
  )
})

describe.each(byHttp)('%s', (_name, { call }) => {
  it.each([301, 302, 303, 307, 308])('follows no redirect of the status %i', async (status) => {
    for (const to of [inner, inner.replace('127.0.0.1', 'localhost'), '169.254.169.254', hostile]) {
      reached = 0
      const path = `/to-${status}-${encodeURIComponent(to)}`
      const error = await failureOf(call(hostile, path, ['127.0.0.0/8']))
      expect(error).toBeInstanceOf(Error)
      expect(reached).toBe(0)
      expect(textOf(error)).not.toContain(excerpt)
    }
  })

  it('tells no password of its address', async () => {
    const error = await failureOf(call(`user:${excerpt}@127.0.0.1:${closed}`, '/bucket/a', ['127.0.0.1']))
    expect(error).toBeInstanceOf(Error)
    expect(textOf(error)).not.toContain(excerpt)
  })

  it.each([400, 401, 404, 409, 418])('keeps nothing of an answer with the status %i', async (status) => {
    const error = await failureOf(call(hostile, `/status-${status}`, ['127.0.0.1']))
    expect(textOf(error)).not.toContain(excerpt)
  })

  it.each(['/endless', '/bomb'])('reads only a part of %s', async (path) => {
    written = 0
    const ended = await failureOf(call(hostile, path, ['127.0.0.1']))
    expect(JSON.stringify(ended)?.length ?? 0).toBeLessThan(10_000)
    // The limits are 5 MB at most; the buffers of the sockets are added.
    expect(written).toBeLessThan(32_000_000)
  })
})

it('keeps nothing of the answer of a mail server', async () => {
  const server = createTcpServer((socket) => socket.on('error', () => {}).end(`554 ${excerpt}\r\n`))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const authority = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const error = await failureOf(
    places['activities/alerts/delivery/send.ts']!['email']!.call(authority, '', ['127.0.0.1']),
  )
  expect(textOf(error)).toMatch(/^the mail server responded 554 \(\w+\) /)
  expect(textOf(error)).not.toContain(excerpt)
  server.close()
})

it('a body that never ends is ended by the time of the exchange, and a silent server sooner', async () => {
  const server = createTcpServer((socket) => {
    socket.on('error', () => {})
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
    const timer = setInterval(() => socket.write('1\r\na\r\n'), 20)
    socket.once('close', () => clearInterval(timer))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  const limits = { privateHosts: 'all', maxBytes: 1_000 } as const
  const reachedMs = 300
  const slow = await outgoingFetch(address, { ...limits, maxMs: reachedMs })
  await expect(slow.bytes()).rejects.toThrow('not complete within 300 ms')
  const dead = createTcpServer((socket) => void socket.on('error', () => {})).listen(0, '127.0.0.1')
  await once(dead, 'listening')
  const silent = `http://127.0.0.1:${(dead.address() as AddressInfo).port}/`
  await expect(outgoingFetch(silent, { ...limits, maxMs: 60_000, maxSilentMs: 100 })).rejects.toThrow(
    'no byte for 100 ms',
  )
  server.close()
  dead.close()
})

it('a body beyond the limit is refused with the host, also when it is compressed', async () => {
  for (const path of ['/endless', '/bomb']) {
    const answered = await outgoingFetch(`http://${hostile}${path}`, {
      privateHosts: ['127.0.0.1'],
      maxBytes: 1_000,
      maxMs: 60_000,
    })
    await expect(answered.bytes()).rejects.toMatchObject({
      code: 'answer_too_large',
      message: `${hostile} sends more than 1000 bytes`,
    })
  }
})

it.each([
  'file:///etc/passwd',
  'data:application/json,{"a":1}',
  'blob:nodedata:1',
  'gopher://example.org/',
  'ftp://example.org/',
  'ws://example.org/',
  'unix:///run/docker.sock',
  'http+unix://%2Frun%2Fdocker.sock/',
  '//example.org/',
  'example.org',
  'http://[::1',
  '',
])('no request is made to %j', async (address) => {
  const limits = { privateHosts: 'all', maxBytes: 1_000, maxMs: 60_000 } as const
  for (const called of [
    outgoingFetch(address, limits),
    outgoingPost(address, { ...limits, headers: {}, body: '' }),
  ])
    await expect(called).rejects.toMatchObject({
      code: 'address_not_allowed',
      message: 'the address is not an http:// or https:// address',
    })
})

it('a name is refused when one of its addresses is private, at each connection anew', () => {
  const answers = [['93.184.215.14'], ['93.184.215.14', '10.0.0.1'], ['127.0.0.1']]
  const resolve = (_name: string, _options: unknown, done: (...found: unknown[]) => void) =>
    done(
      null,
      answers.shift()?.map((address) => ({ address, family: 4 })),
    )
  const { lookup } = createGuard([], resolve as never)
  const codes = answers.slice().map(() => {
    let told: unknown
    lookup('rebinding.example', { all: true }, (error) => (told = error?.code))
    return told
  })
  expect(codes).toEqual([undefined, 'address_not_allowed', 'address_not_allowed'])
})

it('the address of a mail server has no parameters, which the library would take for options', () => {
  const parse = (smtp: string) =>
    parseChannel({ name: 'mail', target: { kind: 'email', smtp, from: 'a@b', to: ['c@d'] } }, 'mail')
  for (const smtp of ['smtp://mail.example:25', 'smtps://user:word@mail.example/']) parse(smtp)
  for (const smtp of ['smtp://mail?sendmail=true&path=/bin/sh', 'smtp://mail?host=10.0.0.1', 'smtp://mail/x'])
    expect(() => parse(smtp)).toThrow('has a path or parameters')
})

it.each(['10.0.0.0/33', 'a b', '1.2.3', '::1/129', 'https://a', '*'])(
  'TENURE_PRIVATE_HOSTS does not take %s',
  (host) =>
    expect(() =>
      readConfig({ DATABASE_URL: 'postgres://127.0.0.1/t', HOME: '/nowhere', TENURE_PRIVATE_HOSTS: host }),
    ).toThrow('TENURE_PRIVATE_HOSTS is a list of'),
)
