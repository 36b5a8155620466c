/** Tests `tenure keys` against a stub of the API. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { keysGroup } from '../../../../cli/commands/admin/keys.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { runCommand } from '../../../support/command-line.ts'

const made = { role: 'viewer', created_at: '2026-01-01T00:00:00.000Z' }
const keys = [
  { ...made, id: 'k1', name: 'forever' },
  { ...made, id: 'k2', name: 'later', expires_at: '2999-01-01T00:00:00.000Z' },
  { ...made, id: 'k3', name: 'over', expires_at: '2026-02-01T00:00:00.000Z' },
  { ...made, id: 'k4', name: 'gone', expires_at: made.created_at, revoked_at: '2026-01-02T00:00:00.000Z' },
]
let server: Server
let url: string
beforeAll(async () => {
  server = createServer((request, response) => {
    const answer =
      request.url === '/v1/models'
        ? { models: [{ name: 'iris' }] }
        : request.method === 'GET'
          ? { keys }
          : { key: 'the secret' }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => void server.close())

it.each([
  ['iris', ''],
  ['iris, iris', ''],
  ['iris,irs', 'There is no model irs yet; the models are iris.'],
])('a key of the models %s is created, and unknown ones are named: %s', async (models, said) => {
  const words = ['keys', 'create', 'shop', '--role', 'predictor', '--models', models]
  const { code, out, err } = await runCommand([keysGroup], [...words, '--url', url])
  expect([code, out]).toEqual([exitCodes.done, expect.stringContaining('the secret')])
  expect(out + err).toContain(said)
  expect((out + err).includes('There is no model')).toBe(said !== '')
})

it('a key whose time is over is listed as expired, which no request accepts', async () => {
  const { out } = await runCommand([keysGroup], ['keys', 'list', '--url', url])
  const states = out.matchAll(/^k\d .* (active|expired|revoked 2026-01-02 00:00:00)$/gm)
  expect(Array.from(states, ([, state]) => state)).toEqual([
    'active',
    'active',
    'expired',
    'revoked 2026-01-02 00:00:00',
  ])
})
