/**
 * Tests what a replica makes of a server that answers a version: on real connections, with each fault of a server, and beside a model of
 * this process.
 */
import { createHash, createHmac } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import {
  createServer as createHttp2Server,
  type Http2Server,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer, text } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createRuntimes as createFrom, formatOf, type RunTicket } from '@tenure/predictors'
import type { NumberFit } from '@tenure/predictors/features'
import { protoMessage, protoPacked, protoText } from '../../../../api/grpc/wire.ts'
import { hosts } from '../../../../api/serving/runtime/hosts.ts'
import { createEndpointClient } from '../../../../store/endpoint-client.ts'
import { inferSums } from '../../../support/serving/infer-sums.ts'

type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void

const secrets = mkdtempSync(join(tmpdir(), 'tenure-secrets-'))
let server: Server
let address: string
let port: number
const sockets = new Set<Socket>()
let open = 0
let mostOpen = 0
let asked = 0
const sums: Handler = (_request, response, body) => {
  const { instances } = JSON.parse(body) as { instances: { a: number; b: number }[] }
  response.end(JSON.stringify({ predictions: instances.map(({ a, b }) => a + b) }))
}
let handle: Handler = sums

beforeAll(async () => {
  server = createServer((request, response) => {
    asked++
    mostOpen = Math.max(mostOpen, ++open)
    response.once('close', () => open--)
    void text(request).then(
      (body) => handle(request, response, body),
      () => {},
    )
  }).listen(0, '127.0.0.1')
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  await once(server, 'listening')
  ;({ port } = server.address() as AddressInfo)
  address = `http://127.0.0.1:${port}/score`
})
beforeEach(() => {
  ;[handle, asked, mostOpen] = [sums, 0, 0]
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
  rmSync(secrets, { recursive: true })
})

const closing: (() => void)[] = []
afterEach(() => closing.splice(0).forEach((close) => close()))

/** Opens a version that this server answers. */
async function opened(changes: object = {}, privateHosts: readonly string[] = ['127.0.0.1']) {
  const client = createEndpointClient({ privateHosts, secrets })
  const runtimes = createFrom({ onError: () => {}, hosts: { ...hosts, ask: client.ask } })
  const file = { endpoint: 'json', address, columns: ['a', 'b'], outputs: ['predictions.*'], ...changes }
  const fits = ['a', 'b'].map((name): NumberFit => ({ name, kind: 'number', mean: 0, std: 1, fill: null }))
  const description = { artifact: 'endpoint', output: { kind: 'number' }, preprocessing: fits } as const
  const files = { 'endpoint.json': Buffer.from(JSON.stringify(file)) }
  const opening = formatOf(description).open(description, files, { version: 'sums_v1.0.0', runtimes })
  const { predictor } = await (opening as Exclude<typeof opening, Generator>)
  closing.push(() => predictor.close?.())
  const ask = async (rows: number[][], order?: RunTicket): Promise<number[]> => {
    const output = new Float32Array(rows.length)
    await predictor.run(Float64Array.from(rows.flat()), rows.length, output, order)
    return [...output]
  }
  return { predictor, ask }
}

describe('a server that answers', () => {
  it('gives each row its own answer, on connections that stay open', async () => {
    const { ask } = await opened()
    for (let row = 0; row < 20; row++) expect(await ask([[row, 1]])).toEqual([row + 1])
    expect(asked).toBe(20)
    // A socket is free a moment after its answer, so that the next request may have opened a second one.
    expect(sockets.size).toBeLessThanOrEqual(2)
  })

  it('is asked by at most `maxConcurrent` requests of at most `maxRows` rows', async () => {
    const held: (() => void)[] = []
    handle = (request, response, body) => held.push(() => sums(request, response, body))
    const { ask } = await opened({ maxRows: 3, maxConcurrent: 2 })
    const answers = Promise.all(Array.from({ length: 12 }, (_, row) => ask([[row, row]])))
    for (let round = 0; round < 2; round++) {
      while (held.length < 2) await new Promise((resolve) => setImmediate(resolve))
      for (const answer of held.splice(0)) answer()
    }
    expect(await answers).toEqual(Array.from({ length: 12 }, (_, row) => [2 * row]))
    expect(mostOpen).toBe(2)
    expect(asked).toBe(4)
  })

  it('is not asked the rows of a request that has ended before its turn', async () => {
    const { ask } = await opened()
    const order = { background: false, cancelled: false, begunMs: 0 }
    const running = ask([[1, 1]], order)
    order.cancelled = true
    await running
    expect(asked).toBe(0)
  })
})

/** Ends each connection as its second request arrives. */
const endsSecond = (): Handler => {
  const known = new WeakSet<Socket>()
  return (request, ...more) => {
    if (known.has(request.socket)) return void request.socket.resetAndDestroy()
    known.add(request.socket)
    sums(request, ...more)
  }
}

describe('a connection that its server ends as a request arrives', () => {
  it('fails no request where it has answered before: another one is asked', async () => {
    handle = endsSecond()
    const { ask } = await opened()
    for (let row = 0; row < 5; row++) expect(await ask([[row, 1]])).toEqual([row + 1])
    expect(asked).toBeGreaterThan(5)
  })

  it('fails the request where it is new', async () => {
    handle = (request) => request.socket.resetAndDestroy()
    const { ask } = await opened({}, ['127.0.0.1', 'own.connections.example'])
    await expect(ask([[1, 1]])).rejects.toThrow('gives no answer: the connection failed (')
    expect(asked).toBe(1)
  })
})

it('an answer that says it is not compressed is read', async () => {
  handle = (request, response, body) =>
    sums(request, response.setHeader('content-encoding', 'identity'), body)
  expect(await (await opened()).ask([[1, 1]])).toEqual([2])
})

const answers = (body: string, status = 200): Handler => {
  return (_request, response) => void response.writeHead(status).end(body)
}
/** What another request may not meet. */
const passing = [
  'closes the connection',
  'closes it within its answer',
  'never answers',
  'never ends its answer',
  'is overloaded',
  'fails',
]
const faults: Record<string, [fault: Handler, why: RegExp]> = {
  'closes the connection': [(request) => request.socket.destroy(), /gives no answer: /],
  'closes it within its answer': [
    (request, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('{"predictions"')
      setImmediate(() => request.socket.destroy())
    },
    /gives no answer: /,
  ],
  'never answers': [() => {}, /gives no answer: not complete within 200 ms/],
  'never ends its answer': [
    (_request, response) => void response.writeHead(200).write('{"predictions": [1'),
    /gives no answer: not complete within 200 ms/,
  ],
  'compresses its answer': [
    (_request, response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end('{}'),
    /sends a compressed answer, which is not read/,
  ],
  'sends more than an answer has': [answers(`[${'1,'.repeat(200_000)}1]`), /sends more than \d+ bytes/],
  'names another address': [
    (_request, response) => void response.writeHead(307, { location: `http://127.0.0.1:${port}/` }).end(),
    /answers 307 and names another address/,
  ],
  'is overloaded': [answers('', 429), /answers 429/],
  fails: [answers('{"predictions": [2]}', 500), /answers 500/],
  'refuses the row': [answers('', 400), /answers 400/],
  'wants another secret': [answers('', 401), /answers 401/],
  'sends a page': [answers('<html>'), /no JSON/],
  'sends NaN': [answers('{"predictions": [NaN]}'), /no JSON/],
  'sends a text': [answers('{"predictions": ["2"]}'), /is a text, not a number/],
  'sends no number': [answers('{"predictions": [null]}'), /is null, not a number/],
  'sends too many answers': [answers('{"predictions": [1, 2]}'), /2 answers for 1 rows/],
  'answers a part': [answers('{"predictions": [2]}', 206), /answers 206/],
  'sends a number beyond 32 bits': [answers('{"predictions": [1e39]}'), /which 32 bits do not hold/],
  'speaks another protocol': [
    ({ socket }) => void socket.end('SSH-2.0-OpenSSH_9.9\r\n'),
    /does not speak HTTP\/1\.1: write https:\/\/ for a server with TLS, and grpc:\/\/ for one of gRPC/,
  ],
  'sends more than its content-length': [
    (request, response) => {
      response.setHeader('content-length', '17').flushHeaders()
      request.socket.write('{"predictions": [1, 2]}')
    },
    /no JSON/,
  ],
  'sends none': [answers('{"predictions": []}'), /0 answers for 1 rows/],
}

/** A busy machine may take longer for an answer than the cases without one should wait. */
const patientMs = 20_000

describe.each(Object.entries(faults))('a server that %s', (what, [fault, why]) => {
  it('fails its own rows with what has happened, and answers again once it is well', async () => {
    const isSilent = why.source.includes('200 ms')
    const { ask } = await opened({ timeoutMs: isSilent ? 200 : patientMs })
    handle = fault
    const failed = ask([[1, 1]])
    await expect(failed).rejects.toThrow(why)
    await expect(failed).rejects.toThrow(`the endpoint at 127.0.0.1:${port} `)
    await expect(failed).rejects.toMatchObject({
      code: passing.includes(what) ? 'model_unavailable' : 'endpoint_unusable',
    })
    handle = sums
    const again = isSilent ? await opened({ timeoutMs: patientMs }) : { ask }
    expect(await again.ask([[1, 1]])).toEqual([2])
  })

  it('delays no other endpoint', async () => {
    const [other, reachedMs] = [await opened(), 200]
    const { ask } = await opened({ address: `${address}/faulty`, timeoutMs: reachedMs })
    handle = (request, ...more) =>
      (request.url?.endsWith('/faulty') === true ? fault : sums)(request, ...more)
    const failed = ask([[1, 1]]).catch(() => 'failed')
    expect(await other.ask([[1, 1]])).toEqual([2])
    expect(await failed).toBe('failed')
  })
})

it('a private address that TENURE_PRIVATE_HOSTS does not list is not asked', async () => {
  await expect((await opened({}, [])).ask([[1, 1]])).rejects.toMatchObject({
    code: 'endpoint_unusable',
    message: expect.stringContaining('is a private address') as string,
  })
  expect(asked).toBe(0)
})

it('a server that is away is told by the code of the system', async () => {
  const away = createServer().listen(0, '127.0.0.1')
  await once(away, 'listening')
  const { port: free } = away.address() as AddressInfo
  away.close()
  await once(away, 'close')
  const { ask } = await opened({ address: `http://127.0.0.1:${free}/` })
  await expect(ask([[1, 1]])).rejects.toMatchObject({
    code: 'model_unavailable',
    message: expect.stringContaining('gives no answer: the connection failed (ECONNREFUSED)') as string,
  })
})

describe('a server of gRPC', () => {
  let grpc: Http2Server
  let grpcAddress: string
  type Serve = (stream: ServerHttp2Stream, body: Buffer) => void
  const sumsByGrpc: Serve = (stream, body) => reply(stream, inferSums(body.subarray(5)))
  function reply(
    stream: ServerHttp2Stream,
    message: Buffer,
    trailers: object = { 'grpc-status': '0' },
  ): void {
    const head = Buffer.alloc(5)
    head.writeUInt32BE(message.length, 1)
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
    stream.once('wantTrailers', () => stream.sendTrailers(trailers as Record<string, string>))
    stream.end(Buffer.concat([head, message]))
  }
  let serve: Serve = sumsByGrpc
  const sessions = new Set<ServerHttp2Session>()
  beforeAll(async () => {
    grpc = createHttp2Server().listen(0, '127.0.0.1')
    grpc.on('session', (session) => {
      sessions.add(session)
      session.once('close', () => sessions.delete(session))
    })
    grpc.on('stream', (stream) => {
      asked++
      stream.on('error', () => {})
      void buffer(stream).then(
        (body) => serve(stream, body),
        () => {},
      )
    })
    await once(grpc, 'listening')
    grpcAddress = `127.0.0.1:${(grpc.address() as AddressInfo).port}`
  })
  afterAll(() => {
    for (const session of sessions) session.destroy()
    grpc.close()
  })
  beforeEach(() => void (serve = sumsByGrpc))
  const openedByGrpc = (changes: object = {}, privateHosts?: readonly string[]) =>
    opened(
      {
        endpoint: 'open-inference',
        address: `grpc://${grpcAddress}`,
        model: 'sums',
        outputs: [{ from: 'sum' }],
        ...changes,
      },
      privateHosts,
    )

  it('answers rows of concurrent requests on one connection', async () => {
    const { ask } = await openedByGrpc({ maxRows: 1 })
    await ask([[1, 1]])
    const answers = await Promise.all(Array.from({ length: 20 }, (_, row) => ask([[row, 1]])))
    expect(answers).toEqual(Array.from({ length: 20 }, (_, row) => [row + 1]))
    expect(sessions.size).toBe(1)
    expect(asked).toBe(21)
  })

  it('is asked again where it ends its connection as a request arrives', async () => {
    const { ask } = await openedByGrpc()
    await ask([[1, 1]])
    serve = ({ session }) => {
      serve = sumsByGrpc
      session!.destroy()
    }
    expect(await ask([[2, 1]])).toEqual([3])
  })

  it('is not asked at a private address that TENURE_PRIVATE_HOSTS does not list', async () => {
    await expect((await openedByGrpc({}, [])).ask([[1, 1]])).rejects.toThrow('is a private address')
    expect(asked).toBe(0)
  })

  it('receives its secret as metadata', async () => {
    mkdirSync(join(secrets, 'endpoints', grpcAddress), { recursive: true })
    writeFileSync(join(secrets, 'endpoints', grpcAddress, 'token'), 'own-token')
    let authorization: unknown
    grpc.once('stream', (_stream, headers) => ({ authorization } = headers))
    expect(await (await openedByGrpc({ secret: 'token' })).ask([[1, 1]])).toEqual([2])
    expect(authorization).toBe('Bearer own-token')
  })

  const status = (code: number): Serve => {
    return (stream) => stream.respond({ ':status': code }, { endStream: true })
  }
  const failures: Record<string, [serve: Serve, why: RegExp]> = {
    'closes its connections': [({ session }) => session!.destroy(), /gives no answer: /],
    'resets the request': [(stream) => stream.close(2), /gives no answer: /],
    'never answers': [() => {}, /not complete within 200 ms/],
    'never ends its answer': [
      (stream) => {
        stream.respond({ ':status': 200 })
        stream.write(Buffer.alloc(5))
      },
      /not complete within 200 ms/,
    ],
    'sends more than an answer has': [
      (stream) => reply(stream, Buffer.alloc(200_000)),
      /sends more than \d+ bytes/,
    ],
    'names another address': [status(307), /answers 307 and names another address/],
    'is overloaded': [status(429), /answers 429/],
    fails: [(stream) => reply(stream, Buffer.alloc(0), { 'grpc-status': '13' }), /the status 13 of gRPC/],
    'fails without a body': [
      (stream) => stream.respond({ ':status': 200, 'grpc-status': '16' }, { endStream: true }),
      /the status 16 of gRPC/,
    ],
    'tells no status': [(stream) => reply(stream, Buffer.alloc(0), {}), /without a status of gRPC/],
    'sends no message': [
      (stream) => stream.respond({ ':status': 200, 'grpc-status': '0' }, { endStream: true }),
      /is not one message of gRPC/,
    ],
    'sends NaN': [
      (stream) =>
        reply(
          stream,
          Buffer.concat([
            protoMessage(5, protoText(1, 'sum'), protoText(2, 'FP32'), protoPacked(3, [1])),
            protoMessage(6, Buffer.from(Float32Array.of(NaN).buffer)),
          ]),
        ),
      /is NaN, not a number/,
    ],
    'sends another output': [
      (stream) => reply(stream, protoMessage(5, protoText(1, 'other'), protoText(2, 'FP32'))),
      /has no output "sum"/,
    ],
  }
  it.each(Object.entries(failures))(
    'that %s fails its rows alone, and answers again',
    async (_what, [fault, why]) => {
      const isSilent = why.source.includes('200 ms')
      const { ask } = await openedByGrpc({ timeoutMs: isSilent ? 200 : patientMs })
      serve = fault
      const failed = ask([[1, 1]])
      const other = (await opened()).ask([[1, 1]])
      await expect(failed).rejects.toThrow(why)
      await expect(failed).rejects.toThrow(`the endpoint at ${grpcAddress} `)
      expect(await other).toEqual([2])
      serve = sumsByGrpc
      const again = isSilent ? await openedByGrpc({ timeoutMs: patientMs }) : { ask }
      expect(await again.ask([[1, 1]])).toEqual([2])
    },
  )

  it('that speaks HTTP/1 alone gives no answer', async () => {
    await expect((await openedByGrpc({ address: `grpc://127.0.0.1:${port}` })).ask([[1, 1]])).rejects.toThrow(
      /gives no answer: /,
    )
  })
})

/** Computes a signature again, by https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html. */
function signatureOf({ headers, url }: IncomingMessage, body: string, secret: string): string {
  const [, scope = '', names = ''] =
    /Credential=[^/]+\/([^,]+), ?SignedHeaders=([^,]+)/.exec(headers.authorization ?? '') ?? []
  const hash = (given: string) => createHash('sha256').update(given).digest('hex')
  const hmac = (key: string | Buffer, given: string) => createHmac('sha256', key).update(given).digest()
  const signed = names.split(';').map((name) => `${name}:${String(headers[name])}\n`)
  const canonical = ['POST', url, '', signed.join(''), names, hash(body)].join('\n')
  const text = ['AWS4-HMAC-SHA256', headers['x-amz-date'], scope, hash(canonical)].join('\n')
  const key = scope.split('/').reduce<string | Buffer>(hmac, `AWS4${secret}`)
  return hmac(key, text).toString('hex')
}

describe('a secret', () => {
  const keep = (host: string, name: string, content: string) => {
    mkdirSync(join(secrets, 'endpoints', host), { recursive: true })
    writeFileSync(join(secrets, 'endpoints', host, name), content)
  }

  it('is sent as a bearer token to its own host', async () => {
    keep(`127.0.0.1:${port}`, 'token', 'own-token\n')
    let authorization: string | undefined
    handle = (request, ...more) => {
      ;({ authorization } = request.headers)
      sums(request, ...more)
    }
    expect(await (await opened({ secret: 'token' })).ask([[1, 1]])).toEqual([2])
    expect(authorization).toBe('Bearer own-token')
  })

  it('of another host or port is not sent', async () => {
    keep('models.example.org', 'other', 'other-token')
    keep('127.0.0.1', 'other', 'token-of-port-80')
    writeFileSync(join(secrets, 'slack'), 'of a channel')
    for (const secret of ['other', 'slack'])
      await expect((await opened({ secret })).ask([[1, 1]])).rejects.toMatchObject({
        code: 'endpoint_unusable',
        message: expect.stringContaining(
          `the secret endpoints/127.0.0.1:${port}/${secret} of TENURE_SECRETS cannot be read (ENOENT)`,
        ) as string,
      })
    expect(asked).toBe(0)
  })

  it.each([
    ['a token of two lines', {}, 'first-hidden\nsecond-hidden'],
    ['the keys of AWS as a token', {}, JSON.stringify({ secretAccessKey: 'hidden' }, null, 2)],
    ['a token that is no ASCII', {}, 'hidden-\u{1f511}'],
    ['a token for AWS', 'aws', 'hidden'],
    ['a key of two lines', 'aws', JSON.stringify({ accessKeyId: 'hid\nden', secretAccessKey: 'hidden' })],
    [
      'a session of two lines',
      'aws',
      JSON.stringify({ accessKeyId: 'hidden', secretAccessKey: 'hidden', sessionToken: 'hid\nden' }),
    ],
  ])('that is %s stands in no error', async (_what, kind, content) => {
    keep(`127.0.0.1:${port}`, 'wrong', content)
    const aws = {
      endpoint: 'sagemaker',
      model: 'sums',
      region: 'eu-west-1',
      address: `http://127.0.0.1:${port}`,
    }
    const failed = (await opened({ ...(kind === 'aws' && aws), secret: 'wrong' })).ask([[1, 1]])
    const { message } = await failed.then(
      () => new Error('was sent'),
      (error: unknown) => error as Error,
    )
    expect(message).toMatch(
      /gives no answer: the secret endpoints\/127\.0\.0\.1:\d+\/wrong of TENURE_SECRETS(:| is not)/,
    )
    expect(message).not.toMatch(/hid|den\b/)
    expect(message).not.toContain(secrets)
    expect(asked).toBe(0)
  })

  it('is not sent without TLS, but to a listed host', async () => {
    const elsewhere = { address: 'http://models.example.org/', secret: 'other' }
    await expect((await opened(elsewhere)).ask([[1, 1]])).rejects.toThrow(
      'is sent over http:// only to a host',
    )
  })

  it('signs a request to SageMaker as AWS would', async () => {
    const keys = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret-of-the-test' }
    keep(`127.0.0.1:${port}`, 'aws', JSON.stringify(keys))
    let signature: string | undefined
    let expected: string | undefined
    handle = (request, response, body) => {
      signature = request.headers.authorization
      expected = signatureOf(request, body, keys.secretAccessKey)
      sums(request, response, body)
    }
    const file = {
      endpoint: 'sagemaker',
      model: 'sums',
      revision: 'blue',
      region: 'eu-west-1',
      secret: 'aws',
    }
    expect(await (await opened({ ...file, address: `http://127.0.0.1:${port}` })).ask([[1, 1]])).toEqual([2])
    expect(signature).toMatch(/^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\//)
    expect(signature).toContain('x-amzn-sagemaker-target-variant')
    expect(signature?.endsWith(`Signature=${expected}`)).toBe(true)
  })
})
