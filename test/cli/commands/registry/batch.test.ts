/** Tests that `batch run --watch` ends when its batch never opens. The API is a server that accepts every batch and knows none. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
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
  const server = createServer(({ method }, response) => {
    if (method === 'POST') return void response.writeHead(202).end(JSON.stringify({ id: 'bat_1' }))
    reads++
    aheadMs += 16_000
    const problem = { status: 404, code: 'batch_not_found', detail: 'there is no batch "bat_1"' }
    response.writeHead(404, { 'content-type': 'application/problem+json' }).end(JSON.stringify(problem))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const words = ['batch', 'run', 'iris', '--query', 'select 1', '--watch', '--url', url]
  const { code, err } = await runCommand([batchGroup], words)
  server.close()
  expect(code).not.toBe(exitCodes.done)
  expect(err).toContain('there is no batch "bat_1"')
  expect(reads).toBe(2)
})
