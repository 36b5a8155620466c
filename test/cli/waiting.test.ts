/** Tests that a long request names on a terminal what it waits for and leaves nothing behind, and that a followed state survives an outage. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it, vi } from 'vitest'
import { failure } from '../../cli/client/client.ts'
import { follow } from '../../cli/commands/follow.ts'
import { runProgram, type CommandSpec } from '../../cli/program.ts'
import { openTerminal } from '../../cli/terminal.ts'

const slow: CommandSpec = {
  name: 'slow',
  summary: 'Asks',
  examples: ['slow'],
  async run({ terminal, api }) {
    terminal.answer(await api().get('/slow'), 'answered')
  },
}

it('a spinner names the request until it is answered', async () => {
  let release = () => {}
  const shown = new Promise<void>((resolve) => (release = resolve))
  const server = createServer((_request, response) => {
    void shown.then(() => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'))
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  let out = ''
  const write = (text: string) => {
    out += text
    if (text.includes('Waiting for')) release()
  }
  await runProgram([slow], ['slow', '--url', url], { out: { write, isTTY: true }, err: { write } })
  server.close()
  expect(out).toMatch(/[⠋⠙⠹] Waiting for http:\/\/127\.0\.0\.1:\d+: GET \/slow/)
  expect(out.endsWith('\r\u001b[0Janswered\n')).toBe(true)
})

it('a spinner does not replace what is shown already, and is not for a pipe', async () => {
  let out = ''
  const terminal = openTerminal({
    out: { write: (text) => (out += text), isTTY: true },
    err: { write: () => 0 },
  })
  terminal.live(['one', 'two'])
  const before = out
  const other = openTerminal({
    out: { write: (text) => (out += text), isTTY: true },
    err: { write: () => 0 },
  })
  const stop = [terminal.waiting('a'), other.waiting('b')]
  // The second spinner also shows that the first one's delay has passed.
  await expect.poll(() => out).toContain('b')
  for (const each of stop) each()
  expect(out.startsWith(before)).toBe(true)
  expect(out).not.toContain(' a')
  const piped = openTerminal({ out: { write: () => expect.unreachable() }, err: { write: () => 0 } })
  piped.waiting('c')()
})

const unreachable = failure({ code: 'unreachable', detail: 'Tenure does not respond', remedy: 'Start it.' })

it('a followed state is read again after an outage, which is reported once, and not after another error', async () => {
  const starting = failure({ code: 'postgres_unavailable', detail: 'Postgres did not answer', status: 503 })
  const gone = failure({ code: 'not_found', detail: 'there is no sweep', status: 404 })
  const refused = failure({ code: 'unauthenticated', detail: 'the key is not valid', status: 401 })
  const read = vi
    .fn<() => Promise<string | undefined>>()
    .mockResolvedValueOnce(undefined)
    .mockRejectedValueOnce(unreachable)
    .mockRejectedValueOnce(starting)
    .mockResolvedValueOnce('ended')
    .mockRejectedValueOnce(gone)
    .mockRejectedValueOnce(refused)
  const complain = vi.fn()
  const show = vi.fn()
  expect(await follow({ complain }, read, (state) => state === 'ended', show)).toBe('ended')
  // A run that has not opened yet has no state, and is shown as such.
  expect(show.mock.calls).toEqual([[undefined]])
  expect(complain.mock.calls).toEqual([['Tenure does not respond. Trying again for 2 min …']])
  for (const error of [gone, refused])
    await expect(follow({ complain }, read, () => true)).rejects.toBe(error)
  expect(complain).toHaveBeenCalledOnce()
})

it('an outage of more than two minutes ends a command, which says that the work continues', async () => {
  const clock = vi.spyOn(performance, 'now').mockReturnValueOnce(0).mockReturnValueOnce(120_001)
  const read = () => Promise.reject(unreachable)
  const problem = {
    remedy: 'Do not start it again: what was started continues, and its page shows its end. Start it.',
  }
  await expect(follow({ complain: () => {} }, read, () => true)).rejects.toMatchObject({ problem })
  clock.mockRestore()
})
