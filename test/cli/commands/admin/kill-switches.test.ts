/** Tests `tenure kill-switches` against a stub of the API. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { killSwitchesGroup } from '../../../../cli/commands/admin/kill-switches.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { answerCommand, runCommand } from '../../../support/command-line.ts'

let server: Server
let url: string
let problems: string[] = []
const asked: { method: string | undefined; url: string | undefined; body: string }[] = []
beforeAll(async () => {
  server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      asked.push({ method: request.method, url: request.url, body })
      const flag = {
        model: 'iris',
        serve: 'champion',
        actor: 'ada',
        reason: 'why',
        revision: 1,
        means: 'It answers.',
        at: '2026-03-01T12:00:00.000Z',
        problems,
      }
      const answer = request.method === 'GET' ? { kill_switches: [flag] } : flag
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
    })
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => void server.close())

const run = (...words: string[]) => runCommand([killSwitchesGroup], [...words, '--url', url])

it('lists the kill switches', async () => {
  problems = []
  const { code, out } = await run('kill-switches')
  expect(code).toBe(exitCodes.done)
  expect(out).toMatch(/iris.*champion.*ada.*why.*all replicas/)
})

it('sets a kill switch and prints its effect', async () => {
  problems = []
  const { code, out } = await run('kill-switches', 'set', 'iris', 'champion', '--reason', 'why')
  expect(asked.at(-1)).toEqual({
    method: 'PUT',
    url: '/v1/kill-switches/iris',
    body: JSON.stringify({ serve: 'champion', reason: 'why' }),
  })
  expect(code).toBe(exitCodes.done)
  expect(out).toMatch(/iris: champion. It answers.\nEvery live replica follows./)
})

it('asks about the switch that is set before it is ended, and ends that one only', async () => {
  const words = ['kill-switches', 'set', 'iris', 'normal', '--reason', 'over', '--url', url]
  const [question] = await answerCommand([killSwitchesGroup], words, ['y'])
  expect(question).toContain('End the kill switch of iris (champion, set by ada: why)?')
  expect(asked.at(-1)).toMatchObject({
    method: 'PUT',
    body: JSON.stringify({ serve: 'normal', reason: 'over', revision: 1 }),
  })
})

it('exits with another code when a replica does not follow, and names it', async () => {
  problems = ['replica r1 on h is at revision 0 of 1']
  const { code, out } = await run('kill-switches', 'set', 'iris', 'champion', '--reason', 'why')
  expect(code).toBe(exitCodes.otherwise)
  expect(out).toContain('Replicas catching up: replica r1 on h is at revision 0 of 1')
})

it.each([
  ['without a reason', ['kill-switches', 'set', 'iris', 'champion'], /--reason is missing/],
  [
    'to something else',
    ['kill-switches', 'set', 'iris', 'off', '--reason', 'x'],
    /must be one of normal, champion, fallback, refuse, not off/,
  ],
])('refuses one %s', async (_name, words, why) => {
  const { code, err } = await run(...words)
  expect(code).toBe(exitCodes.usage)
  expect(err).toMatch(why)
})
