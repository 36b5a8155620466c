/** Tests that every command that takes several names says what was done and what was refused. The API refuses the second. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { commands } from '../../../cli/commands/all-commands.ts'
import { exitCodes } from '../../../cli/exit-codes.ts'
import { runCommand } from '../../support/command-line.ts'

const server = createServer((request, response) => {
  const isRefused = request.method !== 'GET' && request.url!.includes('18')
  request.resume()
  const refusal = { code: 'command_refused', detail: 'it is resolved', remedy: 'List them.', status: 409 }
  response.writeHead(isRefused ? 409 : 200, { 'content-type': 'application/json' })
  response.end(JSON.stringify(isRefused ? refusal : { id: 17, message: 'the first' }))
})
beforeAll(() => once(server.listen(0, '127.0.0.1'), 'listening'))
afterAll(() => void server.close())
const tenure = (...words: string[]) =>
  runCommand(commands, [...words, '--url', `http://127.0.0.1:${(server.address() as AddressInfo).port}`])

const several = commands
  .flatMap((each) =>
    'commands' in each ? each.commands.map(({ name }) => `${each.name} ${name}`) : [each.name],
  )
  .filter((name) => name.includes('...'))
  // It reads model files, and says of each what became of it: test/cli/sync/.
  .filter((name) => !name.startsWith('models sync '))

it('the commands that take several names are known', () =>
  expect(several).toEqual(['alerts acknowledge <groups-or-ids...>', 'alerts resolve <groups-or-ids...>']))

describe.each(several.map((name) => name.split(' ').filter((word) => !/[<[]/.test(word))))(
  '%s %s',
  (...words) => {
    it('says what was done although the second is refused, and goes on with the third', async () => {
      const { code, out, err } = await tenure(...words, '17', '18', '19')
      expect(code).toBe(exitCodes.refused)
      expect(out.match(/the first/g)).toHaveLength(2)
      expect(err).toBe('✗ 18 it is resolved (command_refused)\n      List them.\n')
    })
    it('has what was refused in its JSON', async () => {
      const { code, out, err } = await tenure(...words, '17', '18', '--json')
      expect([code, err]).toEqual([exitCodes.refused, ''])
      expect(JSON.parse(out)).toMatchObject({ refused: [{ name: '18', code: 'command_refused' }] })
    })
    it('of one name throws what refuses it', async () => {
      const { code, out, err } = await tenure(...words, '18')
      expect([code, out]).toEqual([exitCodes.refused, ''])
      expect(err).toMatch(/^error it is resolved/)
    })
  },
)
