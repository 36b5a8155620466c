import { createHash, createHmac } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openS3Store } from '../../../store/objects/s3/s3-store.ts'
import { openTestStore, settingsOf } from '../../support/objects/moto-server.ts'

type Answer = (request: IncomingMessage, response: ServerResponse, body: Buffer) => void

/** A server that answers each request with the next of these responses, and then repeats the last one. */
let answers: Answer[] = []
let asked: { method: string; url: string; headers: IncomingMessage['headers']; body: Buffer }[] = []
const server = createServer((request, response) => {
  const parts: Buffer[] = []
  request.on('data', (part: Buffer) => parts.push(part))
  request.on('end', () => {
    const body = Buffer.concat(parts)
    asked.push({ method: request.method!, url: request.url!, headers: request.headers, body })
    const answer = answers.length > 1 ? answers.shift()! : answers[0]!
    answer(request, response, body)
  })
})
let endpoint: string
let root: string
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  root = await mkdtemp(join(tmpdir(), 'tenure-s3-'))
})
beforeEach(() => void (asked = []))
afterAll(async () => {
  server.closeAllConnections()
  server.close()
  await rm(root, { recursive: true })
})

const ok =
  (body = '', headers: Record<string, string> = {}): Answer =>
  (_request, response) =>
    void response.writeHead(200, headers).end(body)
const failing =
  (status: number, code: string, message = 'said the server', headers: Record<string, string> = {}): Answer =>
  (_request, response) =>
    void response
      .writeHead(status, headers)
      .end(`<Error><Code>${code}</Code><Message>${message}</Message></Error>`)
/** Closes the connection before the announced length. */
const cutOff: Answer = (_request, response) => {
  response.writeHead(200, { 'content-length': '1000' })
  response.write('the first bytes')
  setTimeout(() => response.destroy(), 20)
}
const storeHere = () => openTestStore(settingsOf(endpoint, 'bucket', 'prefix'))

describe('a request to S3', () => {
  it('carries a signature that covers the method, the path, the headers and the SHA-256 of the body', async () => {
    answers = [ok()]
    await storeHere().put('a b/c+d', Buffer.from('earned'), { ifAbsent: true })
    const [{ method, url, headers, body }] = asked as [(typeof asked)[0]]
    const sha256 = (text: string | Buffer) => createHash('sha256').update(text).digest('hex')
    expect(url).toBe('/bucket/prefix/a%20b/c%2Bd')
    expect(headers['if-none-match']).toBe('*')
    expect(headers['x-amz-content-sha256']).toBe(sha256(body))
    // The published signature algorithm, implemented independently.
    const [, scope, names, signature] =
      /Credential=test\/(.+), SignedHeaders=(.+), Signature=(.+)$/.exec(headers.authorization!) ?? []
    const signed = names!.split(';').map((name) => `${name}:${String(headers[name])}\n`)
    expect(names!.split(';')).toEqual(
      expect.arrayContaining(['host', 'if-none-match', 'x-amz-content-sha256', 'x-amz-date']),
    )
    const canonical = [method, url, '', signed.join(''), names, sha256(body)].join('\n')
    const toSign = ['AWS4-HMAC-SHA256', headers['x-amz-date'], scope, sha256(canonical)].join('\n')
    const key = scope!
      .split('/')
      .reduce<string | Buffer>(
        (last, part) => createHmac('sha256', last).update(part).digest(),
        'AWS4a-secret-of-the-tests',
      )
    expect(createHmac('sha256', key).update(toSign).digest('hex')).toBe(signature)
  })

  it('names the bucket in the host where the path does not', async () => {
    answers = [ok()]
    const settings = { ...settingsOf(endpoint, 'bucket', ''), pathStyle: false }
    // A name below localhost resolves to this machine.
    settings.endpoint = endpoint.replace('127.0.0.1', 'localhost')
    const sent = await openS3Store(settings)
      .put('key', Buffer.from('x'))
      .catch((error: Error) => error)
    if (sent === true)
      expect(asked[0]).toMatchObject({
        url: '/key',
        headers: { host: expect.stringMatching(/^bucket\.localhost:/) },
      })
    else expect(String(sent)).toContain('does not answer')
  })

  it.each([
    { what: 'SlowDown', answer: failing(503, 'SlowDown') },
    { what: 'an internal error', answer: failing(500, 'InternalError') },
    { what: 'too many requests', answer: failing(429, 'TooManyRequests') },
    { what: 'a request timeout', answer: failing(400, 'RequestTimeout') },
    { what: 'a conflict of two conditional writes', answer: failing(409, 'ConditionalRequestConflict') },
    { what: 'a lost connection', answer: (request: IncomingMessage) => void request.socket.destroy() },
  ])('is sent again after $what', async ({ answer }) => {
    answers = [answer, answer, ok()]
    expect(await storeHere().put('key', Buffer.from('x'), { ifAbsent: true })).toBe(true)
    expect(asked).toHaveLength(3)
  })

  it('is given up after its attempts, naming the store and the last answer', async () => {
    answers = [failing(503, 'SlowDown', 'Please reduce your request rate.')]
    await expect(storeHere().get('key')).rejects.toMatchObject({
      code: 'object_store_unavailable',
      message: `the object store s3://bucket/prefix at ${endpoint} answered SlowDown`,
    })
    expect(asked).toHaveLength(3)
  })

  it.each([
    { status: 403, code: 'AccessDenied', says: /refused GET prefix\/key: AccessDenied/ },
    { status: 403, code: 'RequestTimeTooSkewed', says: /set the clock of this machine/ },
    { status: 404, code: 'NoSuchBucket', says: /has no bucket bucket: create it/ },
    { status: 501, code: 'NotImplemented', says: /lacks conditional writes/ },
    { status: 301, code: 'PermanentRedirect', says: /the bucket is in eu-west-1: set AWS_REGION/ },
  ])('is not sent again after $code, which no repetition changes', async ({ status, code, says }) => {
    answers = [
      failing(status, code, 'no', { 'x-amz-bucket-region': status === 301 ? 'eu-west-1' : 'us-east-1' }),
    ]
    await expect(storeHere().get('key')).rejects.toMatchObject({
      code: 'object_store_unavailable',
      message: expect.stringMatching(says),
    })
    expect(asked).toHaveLength(1)
  })

  it('is read again from the start when its answer is cut off', async () => {
    const text = 'x'.repeat(1_000)
    answers = [cutOff, ok(text)]
    expect((await storeHere().get('key'))?.toString()).toBe(text)
    answers = [cutOff, ok(text)]
    const path = join(root, 'cut')
    expect(await storeHere().download('key', path)).toMatchObject({ bytes: 1_000 })
    expect(await readFile(path, 'utf8')).toBe(text)
  })

  it('ends when no byte arrives for its time limit', async () => {
    answers = [(_request, response) => void response.writeHead(200, { 'content-length': '10' }).write('half')]
    const reachedMs = 100
    const limits = { attempts: 2, silentMs: reachedMs, pauseMs: 1 }
    const store = openTestStore(settingsOf(endpoint, 'bucket', 'prefix'), { limits })
    await expect(store.get('key')).rejects.toMatchObject({
      code: 'object_store_unavailable',
      message: expect.stringContaining('no byte for 100 ms'),
    })
    expect(asked).toHaveLength(2)
  })

  it('ends with the address of a store that does not listen, and the cause', async () => {
    const store = openTestStore(settingsOf('http://127.0.0.1:9', 'bucket', 'prefix'))
    await expect(store.get('key')).rejects.toMatchObject({
      code: 'object_store_unavailable',
      message: expect.stringMatching(
        /^the object store s3:\/\/bucket\/prefix at http:\/\/127\.0\.0\.1:9 does not answer/,
      ),
    })
  })
})

describe('an upload in parts', () => {
  const bytes = Buffer.alloc(25, 'x')
  const begun = ok('<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>')
  const part = ok('', { etag: '"tag"' })
  const inParts = () => openTestStore(settingsOf(endpoint, 'bucket', 'prefix'), { partBytes: 10 })

  it('is aborted when a part is refused', async () => {
    answers = [begun, part, failing(403, 'AccessDenied'), ok()]
    await expect(inParts().put('key', bytes)).rejects.toMatchObject({ code: 'object_store_unavailable' })
    expect(asked.map(({ method }) => method)).toEqual(['POST', 'PUT', 'PUT', 'DELETE'])
    expect(asked.at(-1)?.url).toContain('uploadId=u1')
  })

  it('has failed when the answer with status 200 holds an error', async () => {
    answers = [
      begun,
      part,
      part,
      part,
      ok('<Error><Code>InternalError</Code><Message>late</Message></Error>'),
      ok(),
    ]
    await expect(inParts().put('key', bytes)).rejects.toMatchObject({
      message: expect.stringContaining('completed no upload: InternalError'),
    })
    expect(asked.at(-1)?.method).toBe('DELETE')
  })

  it('leaves an object that another writer has written meanwhile', async () => {
    answers = [begun, part, part, part, failing(412, 'PreconditionFailed'), ok()]
    expect(await inParts().put('key', bytes, { ifAbsent: true })).toBe(false)
    expect(asked.map(({ method }) => method)).toEqual(['POST', 'PUT', 'PUT', 'PUT', 'POST', 'DELETE'])
    expect(asked[4]?.headers['if-none-match']).toBe('*')
  })

  it.each([
    { what: 'the same content', there: bytes, result: true },
    { what: 'other content', there: Buffer.alloc(25, 'y'), result: expect.any(Error) as unknown },
  ])(
    'that the store no longer knows after a lost response is compared with the object: $what',
    async ({ there, result }) => {
      const lost: Answer = (request) => void request.socket.destroy()
      const length = { 'content-length': '25' }
      const object = [ok('', length), ok(there.toString(), length)]
      answers = [begun, part, part, part, lost, failing(404, 'NoSuchUpload'), ...object, ok()]
      const put = inParts().put('key', bytes, { ifAbsent: true })
      expect(await put.catch((error: unknown) => error)).toEqual(result)
      expect(asked.slice(4, 8).map(({ method }) => method)).toEqual(['POST', 'POST', 'HEAD', 'GET'])
    },
  )
})
