/** Tests that a long request names on a terminal what it waits for, and leaves nothing behind. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it } from 'vitest'
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
  await expect.poll(() => out, { timeout: 20_000 }).toContain('b')
  for (const each of stop) each()
  expect(out.startsWith(before)).toBe(true)
  expect(out).not.toContain(' a')
  const piped = openTerminal({ out: { write: () => expect.unreachable() }, err: { write: () => 0 } })
  piped.waiting('c')()
})
