/** Tests that a command that asks for confirmation looks first: an unknown subject is refused without a question. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { commands } from '../../../cli/commands/all-commands.ts'
import { answerCommand } from '../../support/command-line.ts'

let server: Server
let url: string
beforeAll(async () => {
  server = createServer((request, response) => {
    const isList = /^\/v1\/(keys|releases|kill-switches)(\?|$)/.test(request.url!) && request.method === 'GET'
    const body = isList
      ? { keys: [], releases: [], kill_switches: [] }
      : { code: 'not_found', detail: 'not found', retryable: false }
    response.writeHead(isList ? 200 : 404, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => void server.close())

/** What a command needs besides its subject to reach its question. */
const more: Record<string, string[]> = {
  'kill-switches set': ['champion', '--reason', 'r'],
  'erasures start': ['--subject', 's'],
  'erasures create': ['--subject', 's'],
}
const named = commands.flatMap((each) =>
  'commands' in each
    ? each.commands.map((spec) => [`${each.name} ${spec.name.split(' ')[0]!}`, spec] as const)
    : [[each.name.split(' ')[0]!, each] as const],
)
const confirming = named.filter(
  ([, { name, options = [] }]) => /<[^>]+>/.test(name) && options.some(([option]) => option === '--yes'),
)

it.each(confirming.map(([name]) => name))('%s of an unknown subject asks nothing', async (name) => {
  expect(
    await answerCommand(commands, [...name.split(' '), 'nope', ...(more[name] ?? []), '--url', url], []),
  ).toEqual([])
})
