/** Tests that `tenure rollback` orders exactly what its question has shown. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { rollbackCommand } from '../../../../cli/commands/lifecycle/release-commands.ts'
import { answerCommand, runCommand } from '../../../support/command-line.ts'

let server: Server
let url: string
let model: { status: number; body: object }
let ordered: unknown
beforeAll(async () => {
  server = createServer((request, response) => {
    const isOrder = request.method === 'POST'
    const sent: Buffer[] = []
    request.on('data', (chunk: Buffer) => sent.push(chunk))
    request.on('end', () => {
      if (isOrder) ordered = JSON.parse(Buffer.concat(sent).toString())
      const { status, body } = isOrder ? { status: 200, body: { message: 'done' } } : model
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(JSON.stringify(body))
    })
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => void server.close())

const answer = (...answers: string[]) => {
  ordered = undefined
  return answerCommand([rollbackCommand], ['rollback', 'iris', '--url', url], answers)
}

it.each([
  ['the champion', 'iris_v2', 'Roll back iris from iris_v2 to its last known good version, for all traffic?'],
  ['the candidate that callers meet', 'iris_v3', 'Roll back iris_v3, so that iris_v2 serves'],
])('asks about %s, and orders that', async (_name, rolls_back, question) => {
  model = { status: 200, body: { name: 'iris', champion: { version: 'iris_v2' }, rolls_back } }
  const [asked] = await answer('y', 'complaints')
  expect(asked).toContain(question)
  expect(ordered).toEqual({ reason: 'complaints', version: rolls_back })
})

it('asks and orders while Postgres is away', async () => {
  model = { status: 503, body: { code: 'postgres_unavailable', detail: 'away', retryable: false } }
  const [asked] = await answer('y', 'complaints')
  expect(asked).toContain(
    'It is unknown which version serves, because Postgres does not answer. Roll iris back?',
  )
  expect(ordered).toEqual({ reason: 'complaints' })
})

it('orders what a script names, so that a repetition rolls back nothing else', async () => {
  ordered = undefined
  const run = (...words: string[]) => runCommand([rollbackCommand], ['rollback', ...words, '--url', url])
  await run('iris', '--from', 'iris_v2', '--yes')
  expect(ordered).toEqual({ version: 'iris_v2' })
  expect((await run('rel_1', '--from', 'iris_v2', '--yes')).err).toContain('--from is for a model')
})

it('asks nothing with --yes on a terminal', async () => {
  model = { status: 200, body: { name: 'iris', champion: { version: 'iris_v2' }, rolls_back: 'iris_v2' } }
  ordered = undefined
  expect(await answerCommand([rollbackCommand], ['rollback', 'iris', '--yes', '--url', url], [])).toEqual([])
  expect(ordered).toEqual({})
})

it('asks nothing where no version is there to return to, and says what can be done', async () => {
  const no_rollback = {
    detail: 'iris_v2 is the only known good version',
    remedy: 'Refuse all requests: `x`.',
  }
  const champion = { version: 'iris_v2' }
  model = { status: 200, body: { name: 'iris', champion, rolls_back: 'iris_v2', no_rollback } }
  expect(await answer('y', 'complaints')).toEqual([])
  expect(ordered).toBeUndefined()
  // The candidate of a release has the champion to return to.
  model = { status: 200, body: { name: 'iris', champion, rolls_back: 'iris_v3', no_rollback } }
  expect(await answer('y', 'complaints')).toHaveLength(2)
})

it('orders nothing without a yes', async () => {
  model = { status: 200, body: { name: 'iris', champion: { version: 'iris_v2' }, rolls_back: 'iris_v2' } }
  await answer('n')
  expect(ordered).toBeUndefined()
})
