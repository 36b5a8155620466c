/** Tests `tenure erasures` against a stub of the API. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { erasuresGroup } from '../../../../cli/commands/admin/erasures.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { runCommand } from '../../../support/command-line.ts'

let server: Server
let url: string
let looks = 0
let end = 'done'
const asked: { method: string | undefined; url: string | undefined; body: string }[] = []
const erasure = {
  id: 'era_1',
  model: 'iris',
  status: 'running',
  stage: 'logs',
  requested_by: 'ada',
  requested_at: '2026-03-01T12:00:00.000Z',
  counts: { requests: 3, outcomes: 2 },
  outstanding: ['replica-2'],
  notes: ['a note'],
  snapshots: [
    { digest: `sha256:${'a'.repeat(64)}`, holds: 'yes', drop_after: '2026-03-31T12:00:00.000Z' },
    {
      digest: `sha256:${'b'.repeat(64)}`,
      holds: 'unknown',
      drop_after: '2026-03-31T12:00:00.000Z',
      dropped_at: '2026-04-01T00:00:00.000Z',
    },
  ],
}
beforeAll(async () => {
  server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      asked.push({ method: request.method, url: request.url, body })
      const isOver = request.url === '/v1/erasures/era_1' && ++looks > 1
      const one = isOver ? { ...erasure, status: end, stage: end } : erasure
      const answer =
        request.method === 'POST'
          ? { id: 'era_1', model: 'iris', is_new: true }
          : request.url === '/v1/erasures/era_1'
            ? one
            : { erasures: [erasure] }
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
    })
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => void server.close())

const run = (...words: string[]) => runCommand([erasuresGroup], [...words, '--url', url])

it('erasures create --watch waits for the end and prints the receipt without the subject', async () => {
  const { code, out } = await run(
    'erasures',
    'create',
    'iris',
    '--subject',
    '4711',
    '--predictions',
    'a, b',
    '--watch',
  )
  expect(code).toBe(exitCodes.done)
  expect(JSON.parse(asked[0]!.body)).toEqual({ model: 'iris', subject: '4711', prediction_ids: ['a', 'b'] })
  expect(looks).toBe(2)
  expect(out).toMatch(/era_1 of iris: done/)
  expect(out).toMatch(/requests: 3/)
  expect(out).toMatch(/sha256:a+… holds the subject; dropped after 2026-03-31/)
  expect(out).toMatch(/sha256:b+… may hold the subject; dropped 2026-04-01/)
  expect(out).toMatch(/not acknowledge in time.*replica-2/)
  expect(out).toMatch(/a note/)
  expect(out).not.toContain('4711')
})

it('erasures create --watch ends with code 6 when the key was found nowhere', async () => {
  end = 'nothing_found'
  const { code, out } = await run('erasures', 'create', 'iris', '--subject', '4711.0', '--watch')
  expect(code).toBe(exitCodes.otherwise)
  expect(out).toMatch(/era_1 of iris: nothing found/)
  expect(out).toMatch(/a note/)
})

it('erasures create refuses a missing --subject', async () => {
  const { code, err } = await run('erasures', 'create', 'iris')
  expect(code).toBe(exitCodes.usage)
  expect(err).toMatch(/--subject/)
})

it('erasures list and show print stage, counts and requester', async () => {
  expect((await run('erasures')).out).toMatch(/era_1.*iris.*logs.*3.*2.*ada/)
  expect((await run('erasures', 'show', 'era_1')).out).toMatch(/era_1 of iris/)
})
