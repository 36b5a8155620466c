/**
 * Tests a replica that serves HTTPS, with and without the fast path: renewed certificates, client certificates, the shared port and gRPC.
 */
import { Client, credentials, type ServiceError } from '@grpc/grpc-js'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { connect as connectPlain } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { startServer, type RunningServer } from '../../../api/server.ts'
import { bindSharedPort } from '../../../cli/supervisor/shared-port.ts'
import { createApiFetch } from '../../../store/tls/api-fetch.ts'
import { readConfig } from '../../../temporal.config.ts'
import {
  createAuthority,
  replaceCertificate,
  type CertificateAuthority,
  type IssuedCertificate,
} from '../../support/signing/certificates.ts'
import { irisRow, irisSpec } from '../../support/serving/artifact.ts'
import { openServingFixture, until, type ServingFixture } from '../../support/serving/serving-fixture.ts'

const directory = mkdtempSync(join(tmpdir(), 'tenure-tls-'))
const path = '/v1/models/iris/predict'
const body = JSON.stringify({ instances: [irisRow] })
let fixture: ServingFixture
let key: string
let authority: CertificateAuthority
let caller: IssuedCertificate
let stranger: IssuedCertificate

beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key({ role: 'admin' })
  await fixture.route('iris', { proven: await fixture.register(irisSpec()) })
  authority = createAuthority(directory)
  caller = authority.issue('caller')
  stranger = createAuthority(directory, 'stranger').issue('strange-caller')
})
const running: { server: RunningServer; agents: Agent[] }[] = []
afterEach(async () => {
  for (const { server, agents } of running.splice(0)) {
    for (const agent of agents) agent.destroy()
    await server.stop('the test ends')
  }
})
afterAll(async () => {
  await fixture.close()
  rmSync(directory, { recursive: true })
})

const read = (file: string): Buffer => readFileSync(file)
let count = 0

async function open(environment: Record<string, string> = {}) {
  const issued = authority.issue(`replica-${++count}`)
  const config = readConfig({
    ...fixture.environment(),
    TENURE_TLS_CERT: issued.cert,
    TENURE_TLS_KEY: issued.key,
    ...environment,
  })
  const server = await startServer(config, pino({ level: 'silent' }))
  const agents: Agent[] = []
  running.push({ server, agents })
  const call = createApiFetch({ ca: authority.ca })
  await until(async () => (await call(`${server.url}/readyz`)).ok, 'a replica that is ready')
  const port = Number(new URL(server.url).port)
  const agentOf = (options: ConnectionOptions = {}) => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: read(authority.ca), ...options })
    agents.push(agent)
    return agent
  }
  return { server, port, issued, agentOf }
}

interface Reply {
  status: number | undefined
  text: string
  serial: string
  headers: Record<string, unknown>
}

/** Sends a request; without a body it is a GET. */
function ask(
  agent: Agent,
  port: number,
  target: string,
  sent?: string,
  headers: object = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const method = sent === undefined ? 'GET' : 'POST'
    const length = sent === undefined ? {} : { 'content-length': Buffer.byteLength(sent) }
    const all = { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...length, ...headers }
    const call = request({ agent, host: '127.0.0.1', port, path: target, method, headers: all }, (answer) => {
      const { serialNumber: serial } = (answer.socket as TLSSocket).getPeerCertificate()
      void text(answer).then(
        (got) => resolve({ status: answer.statusCode, text: got, serial, headers: answer.headers }),
        reject,
      )
    })
    call.on('error', reject).end(sent)
  })
}

const modes = ['on', 'off'] as const

describe.each(modes)('with TENURE_FAST_PATH=%s', (mode) => {
  const secure = (environment: Record<string, string> = {}) =>
    open({ TENURE_FAST_PATH: mode, ...environment })

  it('serves predictions, pages and health by HTTPS on one connection', async () => {
    const { server, port, agentOf } = await secure()
    expect(server.url).toMatch(/^https:/)
    const agent = agentOf()
    const replies = [
      await ask(agent, port, path, body),
      await ask(agent, port, '/livez'),
      await ask(agent, port, path, body),
      // A large body, which Node's parser reads.
      await ask(agent, port, path, body.padEnd(1_100_000)),
      await ask(agent, port, path, body),
    ]
    expect(replies.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200])
    expect(replies[1]!.headers['strict-transport-security']).toMatch(/max-age/)
  })

  it('reads a renewed certificate without a lost connection', async () => {
    const { server, port, issued, agentOf } = await secure()
    const agents = Array.from({ length: 4 }, () => agentOf())
    let going = true
    const statuses: (number | undefined)[] = []
    const load = agents.map(async (agent) => {
      while (going) statuses.push((await ask(agent, port, path, body)).status)
    })
    const [before] = await Promise.all([
      ask(agentOf(), port, '/livez'),
      until(() => statuses.length > 20, 'load'),
    ])
    const first = statuses.length
    replaceCertificate(issued, authority.issue(`renewed-${count}`))
    server.reload()
    await until(() => statuses.length > first + 20, 'load after the renewal')
    const after = await ask(agentOf(), port, '/livez')
    going = false
    await Promise.all(load)
    expect(after.serial).not.toBe(before.serial)
    expect(statuses.every((status) => status === 200)).toBe(true)
    // The same connections as before.
    expect(
      agents.map((agent) => (agent as unknown as { totalSocketCount: number }).totalSocketCount),
    ).toEqual([1, 1, 1, 1])
  })

  it('refuses a client without a certificate of a trusted client authority, except for health', async () => {
    const { port, agentOf } = await secure({ TENURE_TLS_CLIENT_CA: authority.ca })
    const from = async (files?: IssuedCertificate) => {
      const agent = agentOf(files && { cert: read(files.cert), key: read(files.key) })
      const replies = [
        await ask(agent, port, '/livez'),
        await ask(agent, port, '/readyz'),
        await ask(agent, port, '/v1/models'),
        await ask(agentOf(agent.options), port, path, body),
      ]
      return replies.map(({ status, text: got }) =>
        status === 200 ? 200 : (JSON.parse(got) as { code: string }).code,
      )
    }
    const refused = [200, 200, 'client_certificate_required', 'client_certificate_required']
    expect(await from(caller)).toEqual([200, 200, 200, 200])
    expect(await from()).toEqual(refused)
    expect(await from(stranger)).toEqual(refused)
  })

  it('refuses a resumed session whose first connection had no certificate', async () => {
    const { port } = await secure({ TENURE_TLS_CLIENT_CA: authority.ca })
    const options = { port, host: '127.0.0.1', ca: read(authority.ca), minVersion: 'TLSv1.3' } as const
    const dial = (session?: Buffer) =>
      new Promise<{ answer: string; session: Buffer | undefined; isReused: boolean }>((resolve, reject) => {
        const socket = connect({ ...options, session })
        let kept: Buffer | undefined
        let got = ''
        let isReused = false
        socket.on('secureConnect', () => (isReused = socket.isSessionReused()))
        socket.on('session', (ticket: Buffer) => (kept = ticket))
        socket.on('data', (chunk: Buffer) => (got += chunk.toString()))
        socket.on('error', reject)
        socket.on('close', () => resolve({ answer: got, session: kept, isReused }))
        const head = [`POST ${path} HTTP/1.1`, 'Host: 127.0.0.1', `Authorization: Bearer ${key}`]
        const rest = ['Content-Type: application/json', `Content-Length: ${body.length}`, '', body]
        socket.write([...head, ...rest].join('\r\n'))
      })
    const first = await dial()
    expect(first.answer).toMatch(/^HTTP\/1.1 403/)
    const resumed = await dial(first.session)
    expect(resumed.isReused).toBe(true)
    expect(resumed.answer).toMatch(/^HTTP\/1.1 403/)
  })

  it('serves HTTPS on the port that replicas share', async () => {
    const shared = bindSharedPort({ host: '127.0.0.1', port: 0 })
    const { fd } = shared.handle as { fd: number }
    const { agentOf } = await secure({ TENURE_SHARED_FD: String(fd) })
    const agent = agentOf()
    await until(async () => {
      const reply = await ask(agent, shared.port, path, body).catch(() => undefined)
      return reply?.status === 200
    }, 'an answer on the shared port')
  })

  it('closes a connection that does not speak TLS, and drains in the presence of a silent one', async () => {
    const { server, port, agentOf } = await secure()
    const plain = connectPlain(port, '127.0.0.1')
    let got = ''
    plain.on('data', (chunk: Buffer) => (got += chunk.toString('latin1'))).on('error', () => {})
    plain.write('GET /livez HTTP/1.1\r\nHost: x\r\n\r\n')
    await until(() => plain.destroyed, 'the connection to be closed')
    expect(got).not.toMatch(/HTTP/)
    expect((await ask(agentOf(), port, '/livez')).status).toBe(200)
    const silent = connectPlain(port, '127.0.0.1').on('error', () => {})
    await until(() => !silent.connecting, 'a connection')
    await server.stop('the test ends')
    silent.destroy()
  })
})

describe('gRPC by TLS', () => {
  const live = (client: Client) =>
    new Promise<string>((resolve) => {
      const same = (bytes: Buffer): Buffer => bytes
      client.makeUnaryRequest(
        '/inference.GRPCInferenceService/ServerLive',
        same,
        same,
        Buffer.alloc(0),
        { deadline: Date.now() + 10_000 },
        (error: ServiceError | null) => resolve(error === null ? 'live' : error.details),
      )
    })
  const clientOf = (port: number | undefined, files?: IssuedCertificate) => {
    const pair = files === undefined ? [] : ([read(files.key), read(files.cert)] as const)
    const secure = credentials.createSsl(read(authority.ca), ...pair)
    // Node 26 refuses an address as the name of a server.
    return new Client(`127.0.0.1:${port}`, secure, { 'grpc.ssl_target_name_override': 'localhost' })
  }

  it('follows a renewed certificate', async () => {
    const { server, issued } = await open({ TENURE_GRPC_PORT: '0' })
    const { grpcPort } = server
    const client = clientOf(grpcPort)
    expect(await live(client)).toBe('live')
    const serial = () =>
      new Promise<string>((resolve, reject) => {
        const socket = connect(
          { port: grpcPort!, host: '127.0.0.1', ca: read(authority.ca), ALPNProtocols: ['h2'] },
          () => {
            resolve(socket.getPeerCertificate().serialNumber)
            socket.destroy()
          },
        ).on('error', reject)
      })
    const before = await serial()
    replaceCertificate(issued, authority.issue('renewed-grpc'))
    server.reload()
    expect(await serial()).not.toBe(before)
    expect(await live(client)).toBe('live')
    client.close()
  })

  it('requires client certificates where client authorities are configured', async () => {
    const { server } = await open({ TENURE_GRPC_PORT: '0', TENURE_TLS_CLIENT_CA: authority.ca })
    for (const [files, expected] of [
      [caller, /^live$/],
      [undefined, /alert|certificate|closed|reset|UNAVAILABLE|connection/i],
      [stranger, /alert|certificate|closed|reset|UNAVAILABLE|connection/i],
    ] as const) {
      const client = clientOf(server.grpcPort, files)
      expect(await live(client)).toMatch(expected)
      client.close()
    }
  })
})
