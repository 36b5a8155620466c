/**
 * Measures the processor time that a server spends on a small POST: with the fast path in front of it, with `node:http` alone, and with Hono.
 * Each server is a process of its own. They take turns in each round, so that other load meets all alike; only ratios within a round count.
 *
 * `npm run bench -w packages/http-front -- [--rounds 10] [--requests 20000] [--connections 32]`
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { getRequestListener } from '@hono/node-server'
import { openFastPath } from '@tenure/http-front'
import { Hono } from 'hono'

const kinds = ['front', 'node:http', 'hono'] as const
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '10' },
    requests: { type: 'string', default: '20000' },
    connections: { type: 'string', default: '32' },
  },
})
const [rounds, requests, connections] = [values.rounds, values.requests, values.connections].map(Number)
const body = '{"number":12}'
const request = `POST /square HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`
const answer = (text: string): string =>
  JSON.stringify({ square: (JSON.parse(text) as { number: number }).number ** 2 })
const json = ['content-type', 'application/json']

/** Serves, and tells its port and then, whenever it is asked, its processor time in microseconds. */
function serve(kind: string): void {
  const hono = new Hono().post('/square', async (context) =>
    context.json({ square: (await context.req.json<{ number: number }>()).number ** 2 }),
  )
  const plain = createServer((incoming, response) => {
    let text = ''
    incoming.on('data', (chunk: Buffer) => (text += chunk.toString()))
    incoming.on('end', () => {
      const made = answer(text)
      response.writeHead(200, [...json, 'content-length', String(made.length)]).end(made)
    })
  })
  const listener = getRequestListener(hono.fetch)
  const server = kind === 'hono' ? createServer((...given) => void listener(...given)) : plain
  if (kind === 'front')
    openFastPath(server, {
      targetOf: (path) => (path === '/square' ? answer : undefined),
      accept: (target, exchange, bytes) => exchange.send(200, json, target(bytes.toString())),
    })
  server.listen(0, '127.0.0.1', () => process.send!((server.address() as AddressInfo).port))
  process.on('message', () => {
    const { user, system } = process.cpuUsage()
    process.send!(user + system)
  })
}

const next = async (child: ChildProcess): Promise<number> => ((await once(child, 'message')) as [number])[0]

/** Sends requests over kept connections, on each the next after the answer. Returns the server's microseconds a request. */
async function measure({ child, port }: { child: ChildProcess; port: number }): Promise<number> {
  const spent = (): Promise<number> => (child.send('spent'), next(child))
  const before = await spent()
  const each = Math.ceil(requests! / connections!)
  const ask = async (): Promise<void> => {
    const socket = connect(port, '127.0.0.1').setNoDelay()
    for (let sent = 0; sent < each; sent++) {
      socket.write(request)
      let got = ''
      while (!got.endsWith('{"square":144}')) got += String((await once(socket, 'data'))[0])
    }
    socket.destroy()
  }
  await Promise.all(Array.from({ length: connections! }, ask))
  return ((await spent()) - before) / (each * connections!)
}

if (positionals[0] !== undefined) serve(positionals[0])
else {
  const start = (kind: string): ChildProcess => fork(fileURLToPath(import.meta.url), [kind])
  const servers = await Promise.all(
    kinds.map(start).map(async (child) => ({ child, port: await next(child), took: [] as number[] })),
  )
  for (let round = -1; round < rounds!; round++)
    for (const server of servers) {
      const took = await measure(server)
      // The first round warms up.
      if (round >= 0) server.took.push(took)
    }
  const three = (given: readonly number[], digits: number): string => {
    const sorted = [...given].sort((a, b) => a - b)
    return [0, 0.5, 1]
      .map((part) => sorted[Math.floor((sorted.length - 1) * part)]!.toFixed(digits))
      .join(' / ')
  }
  process.stdout.write('| server | µs of processor a request | ÷ with the front |\n|---|--:|--:|\n')
  for (const [at, { took, child }] of servers.entries()) {
    const ratios = took.map((each, round) => each / servers[0]!.took[round]!)
    process.stdout.write(`| ${kinds[at]} | ${three(took, 1)} | ${three(ratios, 2)} |\n`)
    child.kill()
  }
}
