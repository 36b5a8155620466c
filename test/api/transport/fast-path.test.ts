/** The fast path on real sockets, beside Node's server: what it takes is answered alike, and what it leaves is answered by Node. */
import { createServer, type Server } from 'node:http'
import type { Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { readHeaders, exchangeOf, type Exchange } from '../../../api/transport/exchange.ts'
import { openFastPath, type FastPath } from '../../../api/transport/fast-path.ts'
import type { BodyAssemblerLimits } from '../../../api/transport/body-assembler.ts'
import { createHttpServer, socketLimits } from '../../../api/transport/http-server.ts'
import { dial as dialPort, serve, type Line as PlainLine } from '../../support/servers/sockets.ts'
import { until } from '../../support/serving/serving-fixture.ts'

interface Site {
  server: Server
  /** The server's ends of its connections. */
  ends: Socket[]
  port: number
  fast: FastPath | undefined
  /** Requests that the fast path has taken. */
  taken: Exchange[]
}

const patient: BodyAssemblerLimits = { withinMs: 60_000, maxHeldBytes: 67_108_864 }

const sites: Site[] = []
afterEach(() => {
  for (const { fast } of sites.splice(0)) fast?.closeAll()
})

/** Tells what it was asked. */
function echo(exchange: Exchange, body: Buffer): void {
  const headers = Object.fromEntries(readHeaders.map((name) => [name, exchange.headers[name]]))
  const said = JSON.stringify({ path: exchange.path, headers, body: body.toString('latin1') })
  exchange.send(
    exchange.path === '/refused' ? 429 : 200,
    ['content-type', 'application/json'],
    Buffer.from(said).toString('latin1'),
  )
}

interface Options {
  /** Without it everything is Node's. */
  fast?: boolean
  limits?: Partial<typeof socketLimits>
  answer?: (exchange: Exchange, body: Buffer) => void
  gathering?: BodyAssemblerLimits
}

async function open({
  fast = true,
  limits = {},
  answer = echo,
  gathering = patient,
}: Options = {}): Promise<Site> {
  const { maxConnections: _, ...times } = { ...socketLimits, ...limits }
  const server = fast ? createHttpServer(() => {}, { ...socketLimits, ...limits }) : createServer(times)
  server.on('request', (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => answer(exchangeOf(request, response), Buffer.concat(chunks)))
  })
  const taken: Exchange[] = []
  const path = fast
    ? openFastPath(
        server,
        {
          targetOf: (target) => (target === '/elsewhere' ? undefined : target),
          answer(_, exchange, body) {
            taken.push({ ...exchange })
            answer(exchange, body)
          },
        },
        gathering,
      )
    : undefined
  const ends: Socket[] = []
  server.on('connection', (socket) => void ends.push(socket))
  const site = { server, ends, port: await serve(server), fast: path, taken }
  sites.push(site)
  return site
}

interface Line extends PlainLine {
  answers: () => number
}

function dial(site: Site): Line {
  const line = dialPort(site.port)
  return { ...line, answers: () => line.got().split('HTTP/1.1 ').length - 1 }
}

/** Until it has been read, or nobody reads any more. */
async function tell({ ends }: Site, { socket, closed }: Line, packet: string | Buffer): Promise<void> {
  socket.write(typeof packet === 'string' ? Buffer.from(packet, 'latin1') : packet)
  const hasRead = ({ remotePort, bytesRead, destroyed }: Socket): boolean =>
    remotePort === socket.localPort && (bytesRead === socket.bytesWritten || destroyed)
  await until(() => closed() || (socket.writableLength === 0 && ends.some(hasRead)), 'it to be read')
}

const timeless = (text: string): string => text.replaceAll(/Date: [^\r]+/g, 'Date: then')

/** Everything that comes back for these packets, until so many answers are there or the connection is closed. */
async function ask(site: Site, packets: readonly (string | Buffer)[], answers = 1): Promise<string> {
  const line = dial(site)
  for (const [place, packet] of packets.entries()) {
    if (place > 0) await until(() => line.socket.bytesWritten > 0, 'the first packet')
    await tell(site, line, packet)
  }
  await until(() => line.closed() || isWhole(line.got(), answers), 'the answers')
  return timeless(line.got())
}

function isWhole(text: string, answers: number): boolean {
  let rest = text
  for (let count = 0; count < answers; count++) {
    const end = rest.indexOf('\r\n\r\n')
    if (end < 0) return false
    const bytes = Number(/content-length: (\d+)/i.exec(rest.slice(0, end))?.[1] ?? 0)
    if (rest.length < end + 4 + bytes) return false
    rest = rest.slice(end + 4 + bytes)
  }
  return true
}

const post = (path: string, headers: readonly string[], body = '{"a":1}'): string =>
  [`POST ${path} HTTP/1.1`, 'Host: x', ...headers, `Content-Length: ${body.length}`, '', body].join('\r\n')

const whole = post('/a', [])
const large = post('/a', [], 'x'.repeat(1_048_577))
const gathered = post('/a', [], 'y'.repeat(1_048_576))

const taken: [name: string, ...packets: string[]][] = [
  ['a plain one', post('/a', [])],
  ['a head and its body behind it', post('/a', []).slice(0, -7), post('/a', []).slice(-7)],
  ['a head with half of its body', whole.slice(0, -4), whole.slice(-4)],
  ['a body in pieces', whole.slice(0, -7), '{"a', '":', '1', '}'],
  ['a body of a megabyte', gathered.slice(0, 200), gathered.slice(200)],
  ['a refused one', post('/refused', [])],
  [
    'every header that is asked for',
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
  ['headers twice that nobody looks at', post('/a', ['Accept: a', 'Accept: b'])],
  ['a path with a query', post('/a?b=%20c', [])],
]

describe('what is taken is answered as Node answers it, headers and all', () => {
  it.each(taken)('%s', async (_, ...packets) => {
    const [fast, node] = await Promise.all([open(), open({ fast: false })])
    const [ours, theirs] = await Promise.all([ask(fast, packets), ask(node, packets)])
    expect(fast.taken).toHaveLength(1)
    expect(ours).toBe(theirs)
    expect(ours).toMatch(/^HTTP\/1\.1 (200 OK|429 Too Many Requests)\r\n/)
  })
})

const left: [name: string, packets: string[], answers?: number][] = [
  ['another path', [post('/elsewhere', [])]],
  ['another method', ['GET /a HTTP/1.1\r\nHost: x\r\n\r\n']],
  ['a body of more than a megabyte that comes later', [large.slice(0, 200), large.slice(200)]],
  ['half a body, and more than the rest', [whole.slice(0, -4), whole.slice(-4) + whole], 2],
  ['a head, and more than its body', [whole.slice(0, -7), whole.slice(-7) + whole], 2],
  ['a head for elsewhere and its body', [post('/elsewhere', []).slice(0, -7), whole.slice(-7)]],
  ['a head in two pieces', [whole.slice(0, 20), whole.slice(20)]],
  ['a head that ends in two pieces', [whole.slice(0, -9), whole.slice(-9)]],
  ['two at once', [whole + whole], 2],
  ['one and a half', [whole + whole.slice(0, 30), whole.slice(30)], 2],
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
  ['a length that is no number', ['POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0x2\r\n\r\n{}']],
  ['no host', ['POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}']],
  ['a header twice that is looked at', [post('/a', ['Authorization: a', 'Authorization: b'])]],
  ['HTTP/1.0', [whole.replace('1.1', '1.0')]],
  ['Connection: close', [post('/a', ['Connection: close'])]],
  ['Connection: upgrade', [post('/a', ['Connection: upgrade', 'Upgrade: h2c'])]],
  ['Expect', [post('/a', ['Expect: something'])]],
  ['lines that end without a carriage return', [whole.replaceAll('\r\n', '\n')]],
  ['a folded line', [post('/a', ['X-Other: a\r\n b'])]],
  [
    'a length with a no-break space',
    [post('/a', ['Content-Length: 7\xa0']).replace(/Content-Length: 7\r\n/, '')],
  ],
  ['a value of spaces that ends in a control byte', [post('/a', [`X-Other:${' '.repeat(7_000)}\x01`])]],
  ['a space before the colon', [post('/a', ['Content-Type : a'])]],
  ['a zero byte in a value', [post('/a', ['X-Other: a\x00b'])]],
  ['a bare carriage return in a value', [post('/a', ['X-Other: a\rb'])]],
  ['a space in the path', [post('/a b', [])]],
  ['a head of 9 kB', [post('/a', [`X-Other: ${'a'.repeat(9_000)}`])]],
  ['a head of 20 kB', [post('/a', [`X-Other: ${'a'.repeat(20_000)}`])]],
  ['no HTTP at all', ['hello\r\n\r\n']],
]

describe('what is left is answered by Node, as if it had never been here', () => {
  it.each(left)('%s', async (_, packets, answers = 1) => {
    const [fast, node] = await Promise.all([open(), open({ fast: false })])
    const [ours, theirs] = await Promise.all([ask(fast, packets, answers), ask(node, packets, answers)])
    expect(fast.taken).toHaveLength(0)
    expect(ours).toBe(theirs)
    expect(ours).toMatch(/^HTTP\/1\.1 \d\d\d /)
  })
})

it('a connection goes on by the fast path with other headers, and by Node when one request is unusual', async () => {
  const site = await open()
  const line = dial(site)
  for (const packets of [
    [whole.slice(0, -3), whole.slice(-3)],
    [post('/b', ['Authorization: x'])],
    [whole],
  ]) {
    const before = line.answers()
    for (const packet of packets) await tell(site, line, packet)
    await until(() => line.answers() === before + 1, 'an answer')
  }
  expect(site.taken.map(({ path }) => path)).toEqual(['/a', '/b', '/a'])
  line.socket.write(whole + whole)
  await until(() => line.answers() === 5, 'the fourth and the fifth')
  line.socket.write(whole)
  await until(() => line.answers() === 6, 'the sixth')
  expect(site.taken).toHaveLength(3)
})

const connectionsOf = ({ server }: Site): Promise<number> =>
  new Promise((resolve) => server.getConnections((_, count) => resolve(count)))

describe('an answer that takes its time', () => {
  interface Kept {
    exchange: Exchange
    body: string
  }
  const keep = (kept: Kept[]) => (exchange: Exchange, body: Buffer) =>
    void kept.push({ exchange, body: body.toString() })
  const say = ({ exchange, body }: Kept): void => exchange.send(200, ['x-said', 'yes'], body)

  it('is waited for by what is asked behind it, in order, one at a time', async () => {
    const kept: Kept[] = []
    const site = await open({ answer: keep(kept) })
    const line = dial(site)
    line.socket.write(post('/a', [], 'first'))
    await until(() => kept.length === 1, 'the request')
    line.socket.write(post('/a', [], 'second'))
    await until(() => site.taken[0]!.socket.isPaused(), 'the second to wait')
    expect(kept).toHaveLength(1)
    say(kept[0]!)
    await until(() => kept.length === 2, 'the second request')
    say(kept[1]!)
    await until(() => line.answers() === 2, 'both answers')
    expect(line.got()).toMatch(/first[^]*second$/)
    expect(site.taken).toHaveLength(2)
  })

  it.each([
    ['hangs up', (line: Line) => line.socket.end()],
    ['is cut off', (line: Line) => line.socket.resetAndDestroy()],
  ])('is told of a caller who %s, and says nothing then', async (_, leave) => {
    const kept: Kept[] = []
    let gone = false
    const site = await open({
      answer: (exchange, body) => {
        keep(kept)(exchange, body)
        exchange.caller.once('close', () => (gone = true))
      },
    })
    const line = dial(site)
    line.socket.write(whole)
    await until(() => kept.length === 1, 'the request')
    expect(kept[0]!.exchange.closed).toBe(false)
    leave(line)
    await until(() => gone, 'the end of the caller')
    expect(kept[0]!.exchange.closed).toBe(true)
    say(kept[0]!)
    await until(() => line.closed(), 'the end of the connection')
    expect(line.got()).toBe('')
  })

  it('leaves what is asked behind it in the kernel, also while its caller is to rest', async () => {
    const kept: Kept[] = []
    const site = await open({ answer: keep(kept) })
    const line = dial(site)
    line.socket.write(whole)
    await until(() => kept.length === 1, 'the request')
    const { socket } = site.taken[0]!
    line.socket.write(post('/b', []))
    await until(() => socket.isPaused(), 'the second to wait')
    await new Promise((resolve) => setImmediate(resolve))
    const read = socket.bytesRead
    // What the kernel has taken on loopback could be read at the next turn.
    await new Promise<void>((resolve) => line.socket.write(Buffer.alloc(40_000), () => resolve()))
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(socket.bytesRead).toBe(read)
    kept[0]!.exchange.onSent(() => void socket.pause())
    say(kept[0]!)
    await until(() => line.answers() === 1, 'the answer')
    await new Promise((resolve) => setImmediate(resolve))
    expect(kept).toHaveLength(1)
    socket.resume()
    await until(() => kept.length === 2, 'the second request')
    expect(kept[1]!.exchange.path).toBe('/b')
  })

  it('is the last of its connection when it says so, and tells when it is sent', async () => {
    let sent = 0
    const line = dial(
      await open({
        answer: (exchange, body) => {
          exchange.shouldKeepAlive = false
          exchange.onSent(() => sent++)
          echo(exchange, body)
        },
      }),
    )
    line.socket.write(whole)
    await until(() => line.closed(), 'the end of the connection')
    expect(line.got()).toContain('Connection: close')
    expect(sent).toBe(1)
  })

  it('outlives the time for which a connection may be idle, which ends the connection behind it', async () => {
    const kept: Kept[] = []
    const site = await open({ answer: keep(kept), limits: { keepAliveTimeout: 100 } })
    const line = dial(site)
    line.socket.write(whole)
    await until(() => kept.length === 1, 'the request')
    let idle = 0
    site.taken[0]!.socket.on('timeout', () => idle++)
    await until(() => idle > 0, 'an idle while')
    expect(line.closed()).toBe(false)
    say(kept[0]!)
    await until(() => line.closed(), 'the end of the connection')
    expect(line.answers()).toBe(1)
  })
})

it('a caller who says goodbye in the middle of a body is told that this was no request, as Node tells it', async () => {
  const said = async (fast: boolean): Promise<string> => {
    const site = await open({ fast })
    const line = dial(site)
    await tell(site, line, whole.slice(0, -3))
    line.socket.end()
    await until(() => line.closed(), 'the end of the connection')
    return line.got()
  }
  const ours = await said(true)
  expect(ours).toBe(await said(false))
  expect(ours).toMatch(/^HTTP\/1\.1 400 /)
})

it('a caller who does not read is not asked for more until it does', async () => {
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
  line.socket.write(whole)
  await until(() => asked === 1, 'the first request')
  line.socket.write(whole)
  await until(() => site.taken[0]!.socket.isPaused(), 'the second to wait')
  expect(asked).toBe(1)
  line.socket.resume()
  await until(() => line.got().length > 2 * large.length, 'both answers')
  expect(site.taken).toHaveLength(2)
})

it('a connection that never says anything is closed when headers would be late', async () => {
  const line = dial(await open({ limits: { headersTimeout: 100, requestTimeout: 200 } }))
  await until(() => line.closed(), 'the end of the connection')
  expect(line.answers()).toBe(0)
})

it('a connection that says something before it is seen off stays', async () => {
  const site = await open({ limits: { headersTimeout: 100, requestTimeout: 200 } })
  const silent = Array.from({ length: 60 }, () => dial(site))
  const speaker = dial(site)
  silent.push(...Array.from({ length: 40 }, () => dial(site)))
  await until(() => silent.filter(({ closed }) => closed()).length >= 30, 'the end of some')
  // Unusual, so that it is Node's by then.
  speaker.socket.write('GET /a HTTP/1.1\r\nHost: x\r\n\r\n')
  await until(() => speaker.answers() === 1, 'an answer')
  await until(() => silent.every(({ closed }) => closed()), 'the end of all others')
  expect(speaker.closed()).toBe(false)
})

describe("a body that stays away is Node's", () => {
  it.each([
    ['which never comes', () => {}],
    ['of which a byte comes now and then', trickle],
  ] as [name: string, goOn: (line: Line) => void][])(
    '%s, and called late after its time',
    async (_, goOn) => {
      const site = await open({
        gathering: { ...patient, withinMs: 100 },
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

  it('a few at a time; one that is whole by then is taken', async () => {
    const site = await open({
      gathering: { ...patient, withinMs: 100 },
      limits: { headersTimeout: 200, requestTimeout: 300, connectionsCheckingInterval: 50 },
    })
    const lines = Array.from({ length: 100 }, () => dial(site))
    for (const { socket } of lines) socket.write(whole.slice(0, -3))
    const last = lines[95]!
    await until(() => lines.filter(({ closed }) => closed()).length >= 10, 'the end of some')
    last.socket.write(whole.slice(-3))
    await until(() => lines.filter(({ closed }) => closed()).length === 99, 'the end of all others')
    expect(last.answers()).toBe(1)
    expect(site.taken).toHaveLength(1)
  })

  it('when all that are unfinished would hold too much, until one of them is gone', async () => {
    const site = await open({ gathering: { ...patient, maxHeldBytes: 1_000 } })
    const half = (path: string): string => post(path, [], 'x'.repeat(800)).slice(0, -100)
    const rest = 'x'.repeat(100)
    const first = dial(site)
    await tell(site, first, half('/first'))
    expect(await ask(site, [half('/second'), rest])).toMatch(/^HTTP\/1\.1 200 /)
    expect(site.taken).toHaveLength(0)
    first.socket.destroy()
    await until(async () => (await connectionsOf(site)) === 1, 'the end of the first')
    // What was whole is held no more either.
    for (const path of ['/third', '/fourth']) await ask(site, [half(path), rest])
    expect(site.taken.map(({ path }) => path)).toEqual(['/third', '/fourth'])
  })
})

function trickle({ socket }: Line): void {
  const timer = setInterval(() => socket.write('a'), 20)
  socket.on('close', () => clearInterval(timer))
}

it('idle connections are closed when it is told to, busy ones only with all', async () => {
  const kept: Exchange[] = []
  const site = await open({ answer: (exchange) => void kept.push(exchange) })
  const [idle, busy, gathering] = [dial(site), dial(site), dial(site)]
  busy.socket.write(whole)
  await until(() => kept.length === 1, 'the request')
  await tell(site, gathering, whole.slice(0, -3))
  await until(async () => (await connectionsOf(site)) === 3, 'all connections')
  site.fast!.closeIdle()
  await until(() => idle.closed(), 'the end of the idle one')
  expect([busy.closed(), gathering.closed()]).toEqual([false, false])
  gathering.socket.write(whole.slice(-3))
  await until(() => kept.length === 2, 'the request that was unfinished')
  site.fast!.closeAll()
  await until(() => busy.closed(), 'the end of the busy one')
})
