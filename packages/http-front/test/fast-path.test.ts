/** Compares the fast path, the server without it and a bare Node server on real sockets. */
import { createServer, type Server } from 'node:http'
import type { Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { exchangeOf, type Exchange } from '../src/exchange.ts'
import { openFastPath, type FastPath } from '../src/fast-path.ts'
import { createByteBudget } from '../src/held-bytes.ts'
import { createHttpServer, socketLimits } from '../src/http-server.ts'
import { isWhole, timeless, withoutProblem } from './support/raw-responses.ts'
import { connectSocket, serve, until, type RawConnection } from './support/sockets.ts'

interface Site {
  server: Server
  /** The server's ends of its connections. */
  ends: Socket[]
  port: number
  fast: FastPath | undefined
  /** Number of requests that the fast path has served. */
  taken: Exchange[]
}

const readHeaders = ['authorization', 'content-type', 'idempotency-key', 'x-request-id'] as const

const unhurried = { withinMs: 60_000, maxHeldBytes: 67_108_864 }

const sites: Site[] = []
afterEach(() => {
  for (const { fast } of sites.splice(0)) fast?.closeAll()
})

/** Responds with the request that it received. */
function echo(exchange: Exchange, body: Buffer): void {
  const headers = Object.fromEntries(readHeaders.map((name) => [name, exchange.headers[name]]))
  const text = JSON.stringify({ path: exchange.path, headers, body: body.toString('latin1') })
  exchange.send(
    exchange.path === '/refused' ? 429 : 200,
    ['content-type', 'application/json'],
    Buffer.from(text).toString('latin1'),
  )
}

/** With the fast path, without it, and a plain Node server, which both must equal. */
type Mode = 'on' | 'off' | 'node'
const modes = ['on', 'off'] as const

interface Options {
  mode?: Mode
  limits?: Partial<typeof socketLimits>
  answer?: (exchange: Exchange, body: Buffer) => void
  bodies?: typeof unhurried
}

async function open({
  mode = 'on',
  limits = {},
  answer = echo,
  bodies = unhurried,
}: Options = {}): Promise<Site> {
  const { maxConnections: _, ...times } = { ...socketLimits, ...limits }
  const server =
    mode === 'node'
      ? createServer({ ...times, requireHostHeader: false })
      : createHttpServer({ limits: { ...socketLimits, ...limits } })
  server.on('request', (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => answer(exchangeOf(request, response), Buffer.concat(chunks)))
  })
  const taken: Exchange[] = []
  const hold = createByteBudget(bodies.maxHeldBytes)
  const fast =
    mode === 'on'
      ? openFastPath(
          server,
          {
            targetOf: (target) => (target === '/elsewhere' ? undefined : target),
            admit: () => ({ held: hold() }),
            accept(_, exchange, body) {
              taken.push({ ...exchange })
              answer(exchange, body)
            },
          },
          { headers: readHeaders, withinMs: bodies.withinMs },
        )
      : undefined
  const ends: Socket[] = []
  server.on('connection', (socket) => void ends.push(socket))
  const site = { server, ends, port: await serve(server), fast, taken }
  sites.push(site)
  return site
}

type Line = RawConnection & { answers: () => number }

function dial(site: Site): Line {
  const line = connectSocket(site.port)
  return { ...line, answers: () => line.got().split('HTTP/1.1 ').length - 1 }
}

/** Sends a packet and waits until the server has read it or the connection is closed. */
async function send({ ends }: Site, { socket, closed }: Line, packet: string | Buffer): Promise<void> {
  socket.write(typeof packet === 'string' ? Buffer.from(packet, 'latin1') : packet)
  const hasRead = ({ remotePort, bytesRead, destroyed }: Socket): boolean =>
    remotePort === socket.localPort && (bytesRead === socket.bytesWritten || destroyed)
  await until(() => closed() || (socket.writableLength === 0 && ends.some(hasRead)), 'it to be read')
}

/** Returns the responses to these packets after the expected number has arrived or the connection is closed. */
async function ask(site: Site, packets: readonly (string | Buffer)[], answers = 1): Promise<string> {
  const line = dial(site)
  for (const [place, packet] of packets.entries()) {
    if (place > 0) await until(() => line.socket.bytesWritten > 0, 'the first packet')
    await send(site, line, packet)
  }
  await until(() => line.closed() || isWhole(line.got(), answers), 'the answers')
  return timeless(line.got())
}

const post = (path: string, headers: readonly string[], body = '{"a":1}'): string =>
  [`POST ${path} HTTP/1.1`, 'Host: x', ...headers, `Content-Length: ${body.length}`, '', body].join('\r\n')

const complete = post('/a', [])
const large = post('/a', [], 'x'.repeat(1_048_577))
const megabyte = post('/a', [], 'y'.repeat(1_048_576))

const taken: [name: string, ...packets: string[]][] = [
  ['a plain request', post('/a', [])],
  ['a head and its body behind it', post('/a', []).slice(0, -7), post('/a', []).slice(-7)],
  ['a head with half of its body', complete.slice(0, -4), complete.slice(-4)],
  ['a body in pieces', complete.slice(0, -7), '{"a', '":', '1', '}'],
  ['a body of a megabyte', megabyte.slice(0, 200), megabyte.slice(200)],
  ['a refused request', post('/refused', [])],
  [
    'every header that is read',
    post(
      '/a',
      readHeaders.map((name) => `${name}: of ${name}`),
    ),
  ],
  ['names in any case and spaces around values', post('/a', ['AUTHORIZATION:   Bearer x \t', 'X-Other:'])],
  ['bytes beyond ASCII in a value', post('/a', ['X-Request-Id: \xe4\xf6'])],
  ['a value with colons', post('/a', ['Authorization: a:b: c'])],
  ['Connection: Keep-Alive', post('/a', ['Connection: Keep-Alive'])],
  ['an empty body', post('/a', [], '')],
  ['a body of any bytes', post('/a', [], '\x00\r\n\r\n\xff POST / HTTP/1.1')],
  ['an ignored header twice', post('/a', ['Accept: a', 'Accept: b'])],
  ['a path with a query', post('/a?b=%20c', [])],
]

/** Returns the responses of a new server in each mode, and how many requests the fast path served. */
async function compare(packets: readonly (string | Buffer)[], answers = 1) {
  const sites = await Promise.all([open(), open({ mode: 'off' }), open({ mode: 'node' })])
  const [on, off, node] = await Promise.all(sites.map((site) => ask(site, packets, answers)))
  return { on, off, node, taken: sites[0].taken.length }
}

describe('the fast path serves with the same bytes as Node', () => {
  it.each(taken)('%s', async (_, ...packets) => {
    const { on, off, node, taken: count } = await compare(packets)
    expect(count).toBe(1)
    expect(on).toBe(node)
    expect(off).toBe(node)
    expect(on).toMatch(/^HTTP\/1\.1 (200 OK|429 Too Many Requests)\r\n/)
  })
})

const left: [name: string, packets: string[], answers?: number][] = [
  ['another path', [post('/elsewhere', [])]],
  ['another method', ['GET /a HTTP/1.1\r\nHost: x\r\n\r\n']],
  ['a body of more than a megabyte that comes later', [large.slice(0, 200), large.slice(200)]],
  ['half a body, and more than the rest', [complete.slice(0, -4), complete.slice(-4) + complete], 2],
  ['a head, and more than its body', [complete.slice(0, -7), complete.slice(-7) + complete], 2],
  ['a head for elsewhere and its body', [post('/elsewhere', []).slice(0, -7), complete.slice(-7)]],
  ['a head in two pieces', [complete.slice(0, 20), complete.slice(20)]],
  ['a head that ends in two pieces', [complete.slice(0, -9), complete.slice(-9)]],
  ['two requests in one read', [complete + complete], 2],
  ['one and a half requests', [complete + complete.slice(0, 30), complete.slice(30)], 2],
  [
    'a chunked body',
    ['POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n'],
  ],
  [
    'a chunk with a long extension',
    [`POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;${'a'.repeat(20_000)}`],
  ],
  ['a chunked body with a length', [post('/a', ['Transfer-Encoding: chunked'], '0\r\n\r\n')]],
  ['no length', ['POST /a HTTP/1.1\r\nHost: x\r\n\r\n']],
  ['two lengths', [post('/a', ['Content-Length: 7'])]],
  ['a length with a sign', ['POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}']],
  ['a length that is not a number', ['POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0x2\r\n\r\n{}']],
  ['no host', ['POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}']],
  ['a header twice that is read', [post('/a', ['Authorization: a', 'Authorization: b'])]],
  ['HTTP/1.0', [complete.replace('1.1', '1.0')]],
  ['Connection: close', [post('/a', ['Connection: close'])]],
  ['Connection: upgrade', [post('/a', ['Connection: upgrade', 'Upgrade: h2c'])]],
  ['Expect', [post('/a', ['Expect: something'])]],
  ['lines that end without a carriage return', [complete.replaceAll('\r\n', '\n')]],
  ['a folded line', [post('/a', ['X-Other: a\r\n b'])]],
  [
    'a length with a no-break space',
    [post('/a', ['Content-Length: 7\xa0']).replace(/Content-Length: 7\r\n/, '')],
  ],
  // Node 20 refuses these, and later versions serve them.
  ...['7\t', '7\t ', '7 \t', '7\t\t '].map((length): [string, string[]] => [
    `the length ${JSON.stringify(length)}`,
    [complete.replace(/Content-Length: 7/, `Content-Length: ${length}`)],
  ]),
  ['a value of spaces that ends in a control byte', [post('/a', [`X-Other:${' '.repeat(7_000)}\x01`])]],
  ['a space before the colon', [post('/a', ['Content-Type : a'])]],
  ['a zero byte in a value', [post('/a', ['X-Other: a\x00b'])]],
  ['a bare carriage return in a value', [post('/a', ['X-Other: a\rb'])]],
  ['a space in the path', [post('/a b', [])]],
  ['a head of 9 kB', [post('/a', [`X-Other: ${'a'.repeat(9_000)}`])]],
  ['a head of 20 kB', [post('/a', [`X-Other: ${'a'.repeat(20_000)}`])]],
  ['no HTTP at all', ['hello\r\n\r\n']],
]

describe('the fast path hands to Node', () => {
  it.each(left)('%s', async (_, packets, answers = 1) => {
    const { on, off, node, taken: count } = await compare(packets, answers)
    expect(count).toBe(0)
    expect(on).toBe(off)
    // Node keeps a connection whose expectation it refuses.
    expect(withoutProblem(on!)).toBe(
      node!.replace(/^(HTTP\/1\.1 417 .+\r\n)[^]*/, '$1Connection: close\r\n\r\n'),
    )
    expect(on).toMatch(/^HTTP\/1\.1 \d\d\d /)
  })
})

/** Every sequence of at most three tabs and spaces. */
const blanks = [
  '',
  ...['\t', ' '].flatMap((a) => [a, ...['\t', ' '].flatMap((b) => [a + b, a + b + '\t', a + b + ' '])]),
]

it.each([
  ['Content-Length', '7'],
  ['Host', 'x'],
  ['Connection', 'keep-alive'],
])('the fast path and Node agree on tabs and spaces around the value of %s', async (name, value) => {
  const sites = [await open(), await open({ mode: 'node' })] as const
  const others = ['Host: x', 'Content-Length: 7'].filter((line) => !line.startsWith(name))
  for (const before of blanks)
    for (const after of blanks) {
      const lines = ['POST /a HTTP/1.1', ...others, `${name}:${before}${value}${after}`, '', '{"a":1}']
      const [on, node] = await Promise.all(sites.map((site) => ask(site, [lines.join('\r\n')])))
      const line = JSON.stringify(lines.at(-3))
      expect(withoutProblem(on!), line).toBe(node)
    }
  expect(sites[0].taken.length).toBeGreaterThan(0)
})

it('the fast path serves a connection while its headers change and leaves it to Node after an unusual request', async () => {
  const site = await open()
  const line = dial(site)
  for (const packets of [
    [complete.slice(0, -3), complete.slice(-3)],
    [post('/b', ['Authorization: x'])],
    [complete],
  ]) {
    const before = line.answers()
    for (const packet of packets) await send(site, line, packet)
    await until(() => line.answers() === before + 1, 'an answer')
  }
  expect(site.taken.map(({ path }) => path)).toEqual(['/a', '/b', '/a'])
  line.socket.write(complete + complete)
  await until(() => line.answers() === 5, 'the fourth and the fifth')
  line.socket.write(complete)
  await until(() => line.answers() === 6, 'the sixth')
  expect(site.taken).toHaveLength(3)
})

const connectionsOf = ({ server }: Site): Promise<number> =>
  new Promise((resolve) => server.getConnections((_, count) => resolve(count)))

describe('a response that takes time', () => {
  type Pending = { exchange: Exchange; body: string }
  const keep = (pending: Pending[]) => (exchange: Exchange, body: Buffer) =>
    void pending.push({ exchange, body: body.toString() })
  const respond = ({ exchange, body }: Pending): void => exchange.send(200, ['x-test', 'yes'], body)

  it('delays pipelined requests, which are served in order, one at a time', async () => {
    const pending: Pending[] = []
    const site = await open({ answer: keep(pending) })
    const line = dial(site)
    line.socket.write(post('/a', [], 'first'))
    await until(() => pending.length === 1, 'the request')
    line.socket.write(post('/a', [], 'second'))
    await until(() => site.taken[0]!.socket.isPaused(), 'the second to wait')
    expect(pending).toHaveLength(1)
    respond(pending[0]!)
    await until(() => pending.length === 2, 'the second request')
    respond(pending[1]!)
    await until(() => line.answers() === 2, 'both answers')
    expect([line.got(), site.taken.length]).toEqual([expect.stringMatching(/first[^]*second$/), 2])
  })

  it('is sent to a client that has closed its side after a pipelined request', async () => {
    const pending: Pending[] = []
    const site = await open({ answer: (...asked) => (pending[0] ? echo : keep(pending))(...asked) })
    const line = dial(site)
    await send(site, line, complete)
    line.socket.end(complete)
    await until(() => site.taken[0]!.socket.isPaused(), 'the second to wait')
    respond(pending[0]!)
    await until(() => line.closed(), 'the end of the connection')
    expect(line.answers()).toBe(2)
  })

  it.each([
    ['on', 'has closed its side', (line: Line) => line.socket.end()],
    ['on', 'has reset the connection', (line: Line) => line.socket.resetAndDestroy()],
    ['off', 'has closed its side', (line: Line) => line.socket.end()],
    ['off', 'has reset the connection', (line: Line) => line.socket.resetAndDestroy()],
  ] as [Mode, string, (line: Line) => void][])(
    'is not sent, fast path %s, when the client %s',
    async (mode, _, leave) => {
      const pending: Pending[] = []
      let closed = false
      const site = await open({
        mode,
        answer: (exchange, body) => {
          keep(pending)(exchange, body)
          exchange.caller.once('close', () => (closed = true))
        },
      })
      const line = dial(site)
      line.socket.write(complete)
      await until(() => pending.length === 1, 'the request')
      expect(pending[0]!.exchange.closed).toBe(false)
      leave(line)
      await until(() => closed, 'the disconnection')
      expect(pending[0]!.exchange.closed).toBe(true)
      respond(pending[0]!)
      await until(() => line.closed(), 'the end of the connection')
      expect(line.got()).toBe('')
    },
  )

  it('leaves pipelined bytes in the kernel, also while the read throttle pauses the connection', async () => {
    const pending: Pending[] = []
    const site = await open({ answer: keep(pending) })
    const line = dial(site)
    line.socket.write(complete)
    await until(() => pending.length === 1, 'the request')
    const { socket } = site.taken[0]!
    line.socket.write(post('/b', []))
    await until(() => socket.isPaused(), 'the second to wait')
    await new Promise((resolve) => setImmediate(resolve))
    const read = socket.bytesRead
    // The next turn could read the bytes that the kernel has accepted on loopback.
    await new Promise<void>((resolve) => line.socket.write(Buffer.alloc(40_000), () => resolve()))
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(socket.bytesRead).toBe(read)
    pending[0]!.exchange.onSent(() => void socket.pause())
    respond(pending[0]!)
    await until(() => line.answers() === 1, 'the answer')
    await new Promise((resolve) => setImmediate(resolve))
    expect(pending).toHaveLength(1)
    socket.resume()
    await until(() => pending.length === 2, 'the second request')
    expect(pending[1]!.exchange.path).toBe('/b')
  })

  it.each(modes)('can be the last of its connection, fast path %s', async (mode) => {
    let sent = 0
    const line = dial(
      await open({
        mode,
        answer: (exchange, body) => {
          exchange.shouldKeepAlive = false
          exchange.onSent(() => sent++)
          echo(exchange, body)
        },
      }),
    )
    line.socket.write(complete)
    await until(() => line.closed(), 'the end of the connection')
    expect(line.got()).toContain('Connection: close')
    expect(sent).toBe(1)
  })

  it('may take longer than the idle timeout, which closes the connection after it', async () => {
    const [pending, limits] = [[] as Pending[], { keepAliveTimeout: 100, keepAliveTimeoutBuffer: 0 }]
    const site = await open({ answer: keep(pending), limits })
    const line = dial(site)
    line.socket.write(complete)
    await until(() => pending.length === 1, 'the request')
    let idle = 0
    site.taken[0]!.socket.on('timeout', () => idle++)
    await until(() => idle > 0, 'an idle while')
    expect(line.closed()).toBe(false)
    respond(pending[0]!)
    await until(() => line.closed(), 'the end of the connection')
    expect(line.answers()).toBe(1)
  })
})

it('a client that closes its side within a body gets 400, as from Node', async () => {
  const responseOf = async (mode: Mode): Promise<string> => {
    const site = await open({ mode })
    const line = dial(site)
    await send(site, line, complete.slice(0, -3))
    line.socket.end()
    await until(() => line.closed(), 'the end of the connection')
    return line.got()
  }
  const [on, off, node] = await Promise.all([...modes, 'node' as const].map(responseOf))
  expect(timeless(on!)).toBe(timeless(off!))
  expect(withoutProblem(on!)).toBe(node)
  expect(on).toMatch(/^HTTP\/1\.1 400 [^]*the request is not valid HTTP: it is not complete/)
})

it('a client that does not read its responses is not read from', async () => {
  let asked = 0
  const large = 'x'.repeat(5_000_000)
  const site = await open({
    answer: (exchange) => {
      asked++
      exchange.send(200, [], large)
    },
  })
  const line = dial(site)
  line.socket.pause()
  line.socket.write(complete)
  await until(() => asked === 1, 'the first request')
  line.socket.write(complete)
  await until(() => site.taken[0]!.socket.isPaused(), 'the second to wait')
  expect(asked).toBe(1)
  line.socket.resume()
  await until(() => line.got().length > 2 * large.length, 'both answers')
  expect(site.taken).toHaveLength(2)
})

it.each(modes)('a silent connection is closed after the header timeout, fast path %s', async (mode) => {
  const limits = { headersTimeout: 100, requestTimeout: 200, connectionsCheckingInterval: 50 }
  const line = dial(await open({ mode, limits }))
  await until(() => line.closed(), 'the end of the connection')
  // Node responds with 408 to a request that has not begun.
  expect(line.answers()).toBe(mode === 'on' ? 0 : 1)
})

it('a late connection that sends a request before it is closed stays open', async () => {
  const site = await open({ limits: { headersTimeout: 100, requestTimeout: 200 } })
  const silent = Array.from({ length: 60 }, () => dial(site))
  const speaker = dial(site)
  silent.push(...Array.from({ length: 40 }, () => dial(site)))
  await until(() => silent.filter(({ closed }) => closed()).length >= 30, 'the end of some')
  // Node serves it, so the fast path must not close it later.
  speaker.socket.write('GET /a HTTP/1.1\r\nHost: x\r\n\r\n')
  await until(() => speaker.answers() === 1, 'an answer')
  await until(() => silent.every(({ closed }) => closed()), 'the end of all others')
  expect(speaker.closed()).toBe(false)
})

function trickle({ socket }: Line): void {
  const timer = setInterval(() => socket.write('a'), 20)
  socket.on('close', () => clearInterval(timer))
}

describe('an incomplete body', () => {
  it.each([
    ['on', 'stops', () => {}],
    ['off', 'stops', () => {}],
    ['on', 'continues a byte at a time', trickle],
    ['off', 'continues a byte at a time', trickle],
  ] as [mode: Mode, name: string, goOn: (line: Line) => void][])(
    'gets 408 after the request timeout, fast path %s, when it %s',
    async (mode, _, goOn) => {
      const site = await open({
        mode,
        bodies: { ...unhurried, withinMs: 100 },
        limits: { headersTimeout: 200, requestTimeout: 300, connectionsCheckingInterval: 50 },
      })
      const line = dial(site)
      line.socket.write(post('/a', [], 'x'.repeat(1_000)).slice(0, -900))
      goOn(line)
      await until(() => line.closed(), 'the end of the connection')
      expect(line.got()).toMatch(/^HTTP\/1\.1 408 /)
      expect(site.taken).toHaveLength(0)
    },
  )

  it('is handed to Node a few at a time; one that becomes complete meanwhile stays', async () => {
    const site = await open({
      bodies: { ...unhurried, withinMs: 100 },
      limits: { headersTimeout: 200, requestTimeout: 300, connectionsCheckingInterval: 50 },
    })
    const lines = Array.from({ length: 100 }, () => dial(site))
    for (const { socket } of lines) socket.write(complete.slice(0, -3))
    const last = lines[95]!
    await until(() => lines.filter(({ closed }) => closed()).length >= 10, 'the end of some')
    last.socket.write(complete.slice(-3))
    await until(() => lines.filter(({ closed }) => closed()).length === 99, 'the end of all others')
    expect(last.answers()).toBe(1)
    expect(site.taken).toHaveLength(1)
  })

  it('is handed to Node while all incomplete bodies hold too many bytes', async () => {
    const site = await open({ bodies: { ...unhurried, maxHeldBytes: 1_000 } })
    const half = (path: string): string => post(path, [], 'x'.repeat(800)).slice(0, -100)
    const rest = 'x'.repeat(100)
    const first = dial(site)
    await send(site, first, half('/first'))
    expect(await ask(site, [half('/second'), rest])).toMatch(/^HTTP\/1\.1 200 /)
    expect(site.taken).toHaveLength(0)
    first.socket.destroy()
    await until(async () => (await connectionsOf(site)) === 1, 'the end of the first')
    // A complete body no longer counts.
    for (const path of ['/third', '/fourth']) await ask(site, [half(path), rest])
    expect(site.taken.map(({ path }) => path)).toEqual(['/third', '/fourth'])
  })
})

it('closeIdle closes idle connections and closeAll the busy ones', async () => {
  const pending: Exchange[] = []
  const site = await open({ answer: (exchange) => void pending.push(exchange) })
  const [idle, busy, partial] = [dial(site), dial(site), dial(site)]
  busy.socket.write(complete)
  await until(() => pending.length === 1, 'the request')
  await send(site, partial, complete.slice(0, -3))
  await until(async () => (await connectionsOf(site)) === 3, 'all connections')
  site.fast!.closeIdle()
  await until(() => idle.closed(), 'the end of the idle one')
  expect([busy.closed(), partial.closed()]).toEqual([false, false])
  partial.socket.write(complete.slice(-3))
  await until(() => pending.length === 2, 'the request that was unfinished')
  site.fast!.closeAll()
  await until(() => busy.closed(), 'the end of the busy one')
})
