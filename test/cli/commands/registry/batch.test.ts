/** Tests that `batch run --watch` ends when its batch never opens, and how `batch list` shows a batch that waits or has failed. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, expect, it, vi } from 'vitest'
import { batchGroup } from '../../../../cli/commands/registry/batch.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { runCommand } from '../../../support/command-line.ts'

afterEach(() => vi.restoreAllMocks())

it('waits for half a minute for a batch that is not there, and then says so', async () => {
  const now = performance.now.bind(performance)
  let aheadMs = 0
  vi.spyOn(performance, 'now').mockImplementation(() => now() + aheadMs)
  let reads = 0
  let sent: unknown
  const server = createServer((request, response) => {
    const { method } = request
    if (method === 'POST') {
      void text(request).then((body) => (sent = JSON.parse(body)))
      return void response.writeHead(202).end(JSON.stringify({ id: 'bat_1' }))
    }
    reads++
    aheadMs += 16_000
    const problem = { status: 404, code: 'batch_not_found', detail: 'there is no batch "bat_1"' }
    response.writeHead(404, { 'content-type': 'application/problem+json' }).end(JSON.stringify(problem))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const words = ['batch', 'run', 'iris', '--query', 'select 1', '--log', '5', '--watch', '--url', url]
  const { code, err } = await runCommand([batchGroup], words)
  server.close()
  expect(code).not.toBe(exitCodes.done)
  expect(err).toContain('there is no batch "bat_1"')
  expect(reads).toBe(2)
  expect(sent).toMatchObject({ model: 'iris', output: { kind: 'table' }, log: 5 })
})

it.each(['', 'many', '100001', '1.5'])('refuses --log %j before it asks the API', async (log) => {
  const words = ['batch', 'run', 'iris', '--query', 'select 1', '--log', log, '--url', 'http://127.0.0.1:1']
  const { code, err } = await runCommand([batchGroup], words)
  expect(err).toContain(`--log must be a whole number from 0 to 100000, not "${log}"`)
  expect(code).toBe(exitCodes.usage)
})

it('lists a batch whose rows no worker has read as waiting, and a failed one with the reason', async () => {
  const batch = (rows?: number, ended: { status?: string; message?: string } = {}) => ({
    id: `bat_${rows ?? 0}`,
    model: 'iris',
    version: 'iris_v1.0.0',
    status: 'running',
    rows,
    scored: 0,
    refused: 0,
    withdrawn: false,
    started_at: '2026-01-01T00:00:00Z',
    ...ended,
  })
  const failed = batch(7, { status: 'failed', message: 'june.csv has no column petal_width' })
  const server = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ batches: [batch(), batch(500), failed] }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { out } = await runCommand([batchGroup], ['batch', '--url', url])
  server.close()
  expect(out).toMatch(/bat_0 .*waiting +0 of –/)
  expect(out).toMatch(/bat_500 .*running +0 of 500/)
  expect(out).toMatch(/bat_7 .*failed +0 of 7.* june\.csv has no column petal_width$/m)
})

it.each([
  [
    { status: 'failed', message: 'there is no file nope.csv' },
    exitCodes.otherwise,
    'failed: there is no file nope.csv',
  ],
  [{ status: 'running', rows: 5 }, exitCodes.done, 'Started bat_1. Follow it: `tenure batch`'],
])('run without --watch tells of a batch that fails at once: %j', async (found, expected, said) => {
  const server = createServer(({ method }, response) => {
    response.writeHead(method === 'POST' ? 202 : 200, { 'content-type': 'application/json' })
    response.end(
      JSON.stringify({
        id: 'bat_1',
        model: 'iris',
        version: 'iris_v1.0.0',
        scored: 0,
        ...(method === 'GET' && found),
      }),
    )
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { code, out } = await runCommand(
    [batchGroup],
    ['batch', 'run', 'iris', '--input', 'nope.csv', '--url', url],
  )
  server.close()
  expect(code).toBe(expected)
  expect(out).toContain(said)
})
