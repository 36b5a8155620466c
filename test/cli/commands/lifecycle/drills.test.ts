/** Tests that `tenure drills run --watch` waits for drills that begin late. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it } from 'vitest'
import { drillsGroup } from '../../../../cli/commands/lifecycle/drills.ts'
import { runCommand } from '../../../support/command-line.ts'

/** In answers to the command, which asks twice a second: longer than it waits after the last drill. */
const [begins, ends] = [10, 12]

it('waits for a drill that begins after five seconds, and for its end', async () => {
  const drill = {
    id: 'drl_1',
    model: 'iris',
    kind: 'nan',
    traffic: 'mirrored',
    held: true,
    harm_budget: 50,
    harmed: 0,
    started_at: '2026-03-01T12:00:00Z',
  }
  let asked = 0
  const drills = () => {
    asked++
    const end = asked > ends && { passed: true, ended_at: '2026-03-01T12:00:09Z' }
    return asked <= begins ? [] : [{ ...drill, ...end }]
  }
  const server = createServer((request, response) => {
    request.resume()
    const answer =
      request.method === 'POST' ? { model: 'iris', workflow_id: 'drill/iris' } : { drills: drills() }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { code, out } = await runCommand([drillsGroup], ['drills', 'run', 'iris', '--watch', '--url', url])
  server.close()
  expect([code, out]).toEqual([0, expect.stringContaining('passed')])
})

it('an unknown kind is named with its option and those that exist', async () => {
  const { code, err } = await runCommand([drillsGroup], ['drills', 'run', 'iris', '--kind', 'foo'])
  expect(code).toBe(2)
  expect(err).toContain('--kind must be one of bad, nan, slow, silent, lost-replica, dead-worker, not foo')
})
