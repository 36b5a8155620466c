/** Tests `tenure keys create` against a stub of the API. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { keysGroup } from '../../../../cli/commands/admin/keys.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { runCommand } from '../../../support/command-line.ts'

let server: Server
let url: string
beforeAll(async () => {
  server = createServer((request, response) => {
    const answer = request.url === '/v1/models' ? { models: [{ name: 'iris' }] } : { key: 'the secret' }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => void server.close())

it.each([
  ['iris', ''],
  ['iris,irs', 'There is no model irs yet; the models are iris.'],
])('a key of the models %s is created, and unknown ones are named: %s', async (models, said) => {
  const words = ['keys', 'create', 'shop', '--role', 'predictor', '--models', models]
  const { code, out, err } = await runCommand([keysGroup], [...words, '--url', url])
  expect([code, out]).toEqual([exitCodes.done, expect.stringContaining('the secret')])
  expect(out + err).toContain(said)
  expect((out + err).includes('There is no model')).toBe(said !== '')
})
