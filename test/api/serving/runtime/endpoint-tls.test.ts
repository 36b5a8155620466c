/**
 * Tests endpoints of each protocol on real servers with TLS: of an authority that NODE_EXTRA_CA_CERTS names, of an unknown one, and with
 * certificates that are wrong. Node reads the variable at its start, so a child process asks.
 */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createSecureServer, type Http2SecureServer } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { formatOf } from '@tenure/predictors'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { startScorer } from '../../../../activities/runtime/scoring-child.ts'
import { checkout, environmentWith } from '../../../../temporal.config.ts'
import { askDirectly } from '../../../support/serving/ask-endpoint.ts'
import { putEndpoint } from '../../../support/serving/endpoint.ts'
import { inferSums } from '../../../support/serving/infer-sums.ts'
import { createAuthority, type IssuedCertificate } from '../../../support/signing/certificates.ts'

const folder = mkdtempSync(join(tmpdir(), 'tenure-endpoint-tls-'))
const closing: (() => void)[] = []
afterAll(() => {
  for (const close of closing) close()
  rmSync(folder, { recursive: true })
})

const row = { a: 3, b: 4 }
/** Answers the sum of `row` by each protocol. */
const answers: Record<string, unknown> = {
  '/v2/models/sums/infer': { outputs: [{ name: 'sum', shape: [1, 1], datatype: 'FP64', data: [7] }] },
  '/': { predictions: [7] },
  '/invocations': { predictions: [7] },
  '/endpoints/sums/invocations': { predictions: [7] },
  '/chat/completions': { choices: [{ message: { content: '{"sum": 7}' } }] },
  '/embeddings': { data: [{ index: 0, embedding: [7] }] },
}
function answer(request: IncomingMessage, response: ServerResponse): void {
  void text(request).then(() => response.end(JSON.stringify(answers[request.url!])))
}

/** Files by the name of the protocol, with the scheme of its address without TLS. */
const protocols: Record<string, { endpoint: string; scheme?: 'grpc'; row?: object; file: object }> = {
  'open-inference by HTTP': {
    endpoint: 'open-inference',
    file: { model: 'sums', outputs: [{ from: 'sum' }] },
  },
  'open-inference by gRPC': {
    endpoint: 'open-inference',
    scheme: 'grpc',
    file: { model: 'sums', outputs: [{ from: 'sum' }] },
  },
  json: { endpoint: 'json', file: { outputs: ['predictions.*'] } },
  mlflow: { endpoint: 'mlflow', file: { path: '/invocations', outputs: ['predictions.*'] } },
  sagemaker: {
    endpoint: 'sagemaker',
    file: { model: 'sums', region: 'eu-west-1', outputs: ['predictions.*'] },
  },
  completion: {
    endpoint: 'openai',
    file: { kind: 'completion', model: 'sums', prompt: '{{a}} + {{b}}', json: ['sum'] },
  },
  embedding: {
    endpoint: 'openai',
    row: { a: 'three and four' },
    file: { kind: 'embedding', model: 'sums', columns: [{ name: 'a', text: true }], dimensions: 1 },
  },
}

it('each protocol of an endpoint is asked', () => {
  const inspect = () =>
    formatOf({ artifact: 'endpoint' }).inspect(
      { 'endpoint.json': Buffer.from('{"endpoint": "none"}') },
      { kind: 'number' },
    )
  const names = [...new Set(Object.values(protocols).map(({ endpoint }) => endpoint))]
  expect(inspect).toThrow(`must be one of ${names.join(', ')}`)
})

/** The ports of a server by HTTP/1.1, one by HTTP/2 and one of gRPC. */
interface Ports {
  http1: number
  http2: number
  grpc: number
}
async function listen(certificate?: IssuedCertificate): Promise<Ports> {
  const pair = certificate && { cert: readFileSync(certificate.cert), key: readFileSync(certificate.key) }
  const http1 = pair === undefined ? createHttpServer(answer) : createHttpsServer(pair, answer)
  const servers: (typeof http1 | Http2SecureServer)[] = [http1]
  if (pair !== undefined) servers.push(createSecureServer(pair, answer as never))
  const ports: number[] = []
  for (const server of servers) {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    ports.push((server.address() as AddressInfo).port)
    closing.push(() => {
      if ('closeAllConnections' in server) server.closeAllConnections()
      server.close()
    })
  }
  const grpc = new Server()
  const plain = (bytes: Buffer) => bytes
  grpc.addService(
    {
      ModelInfer: {
        path: '/inference.GRPCInferenceService/ModelInfer',
        requestStream: false,
        responseStream: false,
        requestDeserialize: plain,
        requestSerialize: plain,
        responseDeserialize: plain,
        responseSerialize: plain,
      },
    },
    {
      ModelInfer: (call: { request: Buffer }, done: (error: null, reply: Buffer) => void) =>
        done(null, inferSums(call.request)),
    },
  )
  const credentials =
    pair === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(null, [{ cert_chain: pair.cert, private_key: pair.key }])
  closing.push(() => grpc.forceShutdown())
  return {
    http1: ports[0]!,
    http2: ports[1] ?? ports[0]!,
    grpc: await promisify(grpc.bindAsync.bind(grpc))('127.0.0.1:0', credentials),
  }
}

interface Question {
  file: object
  row: Record<string, number | string>
}
function questionOf(name: string, secure: boolean, port: number): Question {
  const { endpoint, scheme = 'http', file, row: own = row } = protocols[name]!
  const { path = '', ...fields } = file as { path?: string }
  const address = `${scheme}${secure ? 's' : ''}://127.0.0.1:${port}${path}`
  return {
    file: { endpoint, address, columns: Object.keys(own), timeoutMs: 60_000, ...fields },
    row: own as Question['row'],
  }
}
const outputOf = ({ row: own }: Question) =>
  'b' in own ? ({ kind: 'number' } as const) : ({ kind: 'numbers', names: ['n'] } as const)
type Told = number[] | string

/** Asks in a process that trusts the authority of a file. Returns the answers, or the messages of errors. */
async function askTrusting(authority: string, questions: readonly Question[]): Promise<Told[]> {
  const script = `
    const { askDirectly } = await import('./test/support/serving/ask-endpoint.ts')
    const told = await Promise.all(JSON.parse(process.argv[1]).map(({ file, row, output }) =>
      askDirectly(file, row, output).catch((error) => error.message)))
    console.log(JSON.stringify(told))
    process.exit()`
  const given = questions.map((question) => ({ ...question, output: outputOf(question) }))
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '-e', script, JSON.stringify(given)],
    { cwd: checkout, env: environmentWith({ NODE_EXTRA_CA_CERTS: authority }) },
  )
  return JSON.parse(stdout) as Told[]
}

const faults = {
  expired: /its certificate has expired \(CERT_HAS_EXPIRED\): renew it at the server/,
  named: /its certificate is of another name \(ERR_TLS_CERT_ALTNAME_INVALID\): use a name in the certificate/,
  plain: /it does not offer TLS \(\w+\): write http:\/\/ or grpc:\/\/ in its address/,
  unknown: /its certificate is not trusted \(\w+\): set NODE_EXTRA_CA_CERTS to the file of its authority/,
}
type Place = 'own' | keyof typeof faults
const versionsOf = (name: string): (keyof Ports)[] =>
  protocols[name]!.scheme === 'grpc' ? ['grpc'] : ['http1', 'http2']
const cases = Object.keys(protocols).flatMap((name) =>
  versionsOf(name).flatMap((version) =>
    (['own', ...Object.keys(faults)] as Place[]).map((place) => ({ name, version, place })),
  ),
)
const keyOf = ({ name, version, place }: (typeof cases)[number]) => `${name} ${version} ${place}`
const told = new Map<string, Told>()
const ports = {} as Record<Place, Ports>
let authority: string

beforeAll(async () => {
  const known = createAuthority(folder)
  authority = known.ca
  ports.own = await listen(known.issue('own'))
  ports.expired = await listen(known.issue('expired', undefined, -1))
  ports.named = await listen(known.issue('named', 'DNS:models.example.org'))
  ports.unknown = await listen(createAuthority(folder, 'other').issue('unknown'))
  ports.plain = await listen()
  const asked = cases.map(({ name, version, place }) => questionOf(name, true, ports[place][version]))
  const found = await askTrusting(authority, asked)
  for (const [at, each] of cases.entries()) told.set(keyOf(each), found[at]!)
})

describe.each(Object.keys(protocols))('%s', (name) => {
  it.each(versionsOf(name))('answers by TLS as without it: %s', async (version) => {
    const plain = questionOf(name, false, ports.plain[version])
    expect(await askDirectly(plain.file, plain.row, outputOf(plain))).toEqual([7])
    expect(told.get(keyOf({ name, version, place: 'own' }))).toEqual([7])
  })

  it.each(Object.entries(faults))('a certificate or server that is %s: says what to do', (place, words) => {
    for (const version of versionsOf(name))
      expect(told.get(keyOf({ name, version, place: place as Place })), version).toMatch(words)
  })

  it('is not trusted without the variable', async () => {
    for (const version of versionsOf(name)) {
      const asked = questionOf(name, true, ports.own[version])
      await expect(askDirectly(asked.file, asked.row, outputOf(asked)), version).rejects.toThrow(
        faults.unknown,
      )
    }
  })
})

it('the processes of a worker that read and check versions trust the same authorities', async () => {
  vi.stubEnv('NODE_EXTRA_CA_CERTS', authority)
  vi.stubEnv('TENURE_PRIVATE_HOSTS', '127.0.0.1')
  const endpoint = { address: `https://127.0.0.1:${ports.own.http1}/`, answer: () => [7] }
  const features = { a: { kind: 'number' }, b: { kind: 'number' } } as const
  const described = { model: 'sums', features, output: { kind: 'number' }, golden: [row] } as const
  const digest = await putEndpoint(folder, endpoint, described, { outputs: ['predictions.*'] })
  const scorer = startScorer([folder, digest, 'sums_v1.0.0'], AbortSignal.timeout(60_000))
  expect(await scorer.score({ rows: 1, columns: { a: [3], b: [4] } })).toMatchObject({ outputs: [7] })
  await scorer.close()
})
