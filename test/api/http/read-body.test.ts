/** Tests bodies on a real socket: with a length, in chunks, and without a body. */
import { createAdaptorServer } from '@hono/node-server'
import { Hono } from 'hono'
import { request as send, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { createBodyBudget } from '../../../api/http/body-budget.ts'
import { readBody } from '../../../api/http/read-body.ts'
import { isError } from '../../../domain/errors.ts'

const limit = 1_000
const held = createBodyBudget().open({ keyId: 'key_a' })
let server: Server
let port: number

beforeAll(async () => {
  const app = new Hono()
  app.all('/', async ({ req }) => {
    try {
      return new Response(String((await readBody(req.raw, { limit, held, withinMs: 100 })).byteLength))
    } catch (error) {
      return new Response(isError(error) ? error.code : 'another error', { status: 413 })
    }
  })
  server = createAdaptorServer({ fetch: app.fetch }) as Server
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as AddressInfo).port
})
afterAll(() => void server.close())

function ask(method: string, headers: Record<string, string>, ...parts: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = send({ port, host: '127.0.0.1', method, headers }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => (text += part))
      response.on('end', () => resolve(text))
    })
    call.on('error', reject)
    for (const part of parts) call.write(part)
    call.end()
  })
}

const chunked = { 'transfer-encoding': 'chunked' }

describe('a body', () => {
  it.each([
    ['of a DELETE without one', 'DELETE', {}, [], '0'],
    ['with its length', 'POST', { 'content-length': '4' }, ['abcd'], '4'],
    ['in chunks', 'POST', chunked, ['ab', 'cd', 'ef'], '6'],
    ['up to the limit', 'POST', chunked, ['a'.repeat(600), 'a'.repeat(400)], '1000'],
    ['of a DELETE that has one', 'DELETE', chunked, ['{}'], '2'],
    ['announced too large', 'POST', { 'content-length': '1001' }, ['a'.repeat(1_001)], 'body_too_large'],
    ['that grows too large', 'POST', chunked, ['a'.repeat(600), 'a'.repeat(401)], 'body_too_large'],
  ])('%s', async (_name, method, headers, parts, answer) => {
    expect(await ask(method, headers, ...parts)).toBe(answer)
  })
})

it('a body that is not complete in time is refused', async () => {
  const answer = await new Promise<string>((resolve, reject) => {
    const call = send({ port, host: '127.0.0.1', method: 'POST', headers: chunked }, (response) => {
      response.setEncoding('utf8').on('data', resolve)
    })
    call.on('error', reject)
    call.write('ab')
  })
  expect(answer).toBe('request_timeout')
})

it.each([
  {
    name: 'an upload is refused after a pause of 10 s, and not after shorter ones',
    mayPause: true,
    waitsMs: [9_999, 9_999, 9_999],
  },
  {
    name: 'any other body is refused after 10 s, although parts of it come',
    mayPause: false,
    waitsMs: [4_000, 5_999],
  },
])('$name', async ({ mayPause, waitsMs }) => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const { readable, writable } = new TransformStream<Uint8Array>()
  const writer = writable.getWriter()
  const request = new Request('http://a', { method: 'POST', body: readable, duplex: 'half' } as RequestInit)
  let refusal: unknown
  void readBody(request, { limit, held, mayPause }).catch((error: unknown) => (refusal = error))
  for (const ms of waitsMs) {
    await writer.write(Buffer.from('a'))
    await vi.advanceTimersByTimeAsync(ms)
    expect(refusal).toBeUndefined()
  }
  await vi.advanceTimersByTimeAsync(1)
  expect(refusal).toMatchObject({ code: 'request_timeout' })
})
