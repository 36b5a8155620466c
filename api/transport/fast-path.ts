/**
 * The fast path of predictions. Node's HTTP server reads whatever a client may send, and what it makes for each request costs as
 * much as the prediction. Here a request is taken whose head says nothing unusual and comes in one read of its connection, with a
 * body that is all there within a moment. Any other is handed to Node's server together with its connection, for good, as if it
 * had never been here: slow senders are Node's, who knows how long a request may take, and there is nothing about which two
 * parsers could differ.
 */
import { STATUS_CODES, type Server } from 'node:http'
import type { Socket } from 'node:net'
import { askedHeaders, type AskedHeaders, type Exchange } from './exchange.ts'
import { closeIfIdle, createConnectionReaper } from './connection-reaper.ts'
import { createBodyAssemblers, type BodyAssembler, type BodyAssemblerLimits } from './body-assembler.ts'
import { refuseConnection } from './http-server.ts'

export interface FastPath {
  /** Closes the connections on which nothing is asked, or all. */
  closeIdle(): void
  closeAll(): void
}

/** Who answers predictions. A path without a target is for Node's server. */
export interface PredictHandler<Target> {
  targetOf(path: string): Target | undefined
  answer(target: Target, exchange: Exchange, body: Buffer): void
}

/** What a request begins with, up to its body. */
interface Head {
  path: string
  headers: AskedHeaders
  bodyBytes: number
}

interface ClientConnection {
  socket: Socket
  isBusy(): boolean
}

const headEnd = '\r\n\r\n'
/** Longer ones are Node's. */
const maxHeadBytes = 8_192
/** A body that is larger than this is Node's from the beginning, one that breaks the limits from then on. */
const maxBodyBytes = 1_048_576
const defaultLimits: BodyAssemblerLimits = { withinMs: 1_000, maxHeldBytes: 67_108_864 }
/** Behind the time that callers are told, as Node's server adds: one who asks at the last moment is answered. */
const marginMs = 1_000

/** Takes the connections of a server, those that a shared port hands it too. */
export function openFastPath<Target>(
  server: Server,
  desk: PredictHandler<Target>,
  limits = defaultLimits,
): FastPath {
  const toNode = server.listeners('connection') as ((socket: Socket) => void)[]
  server.removeAllListeners('connection')
  const visitors = new Set<ClientConnection>()
  const stay = createStay(server.keepAliveTimeout)
  const idleMs = server.keepAliveTimeout + marginMs
  const [seeOffIdle, seeOffLate] = [createConnectionReaper(), createConnectionReaper()]
  const beginBody = createBodyAssemblers(limits)
  server.on('connection', visit)

  function visit(socket: Socket): void {
    let head = ''
    let asked: (Head & { target: Target }) | undefined
    let isBusy = false
    let assembler: BodyAssembler | undefined
    let held: Buffer | undefined
    let onSent: (() => void) | undefined
    const exchange = {
      path: '',
      headers: {} as AskedHeaders,
      socket,
      caller: socket,
      shouldKeepAlive: true,
      get closed() {
        return !socket.writable
      },
      onSent: (listener: () => void) => void (onSent = listener),
      send(status: number, headers: readonly string[], text: string) {
        if (!socket.writable) return
        const start = startOf(status, headers)
        const wentOut = socket.write(start + text.length + stay(exchange.shouldKeepAlive) + text, 'latin1')
        if (!exchange.shouldKeepAlive) socket.destroySoon()
        if (wentOut) next()
        else socket.once('drain', next)
      },
    } satisfies Exchange
    const next = (): void => {
      isBusy = false
      if (held !== undefined) socket.resume()
      onSent?.()
      onSent = undefined
    }
    /** Who was told to rest meanwhile is paused again, and asks when that is over. */
    const onResume = (): void => {
      readOn(socket)
      if (held === undefined || isBusy || socket.isPaused()) return
      const chunk = held
      held = undefined
      read(chunk)
    }
    const onPause = (): void => void setImmediate(readNoMore, socket)
    const read = (chunk: Buffer): void => {
      if (assembler !== undefined) return gather(assembler, chunk)
      // Clients say the same every time.
      if (asked === undefined || chunk.toString('latin1', 0, head.length) !== head) {
        if (asked === undefined) socket.setTimeout(idleMs)
        head = headOf(chunk)
        asked = findTarget(parseHead(head))
      }
      if (asked === undefined) return handOver(chunk)
      const bytes = chunk.byteLength - head.length
      if (bytes === asked.bodyBytes) return begin(chunk.subarray(head.length))
      if (asked.bodyBytes > maxBodyBytes) return handOver(chunk)
      socket.setTimeout(limits.withinMs)
      assembler = beginBody(asked.bodyBytes)
      gather(assembler, chunk.subarray(head.length))
    }
    const gather = (body: BodyAssembler, piece: Buffer): void => {
      const stands = body.add(piece)
      if (stands === 'whole') begin(endOf(body))
      else if (stands === 'over') giveUp()
    }
    const endOf = (body: BodyAssembler): Buffer => {
      assembler = undefined
      socket.setTimeout(idleMs)
      return body.end()
    }
    const giveUp = (): void => {
      if (assembler !== undefined) handOver(Buffer.concat([Buffer.from(head, 'latin1'), endOf(assembler)]))
    }
    const findTarget = (found: Head | undefined): typeof asked => {
      const target = found === undefined ? undefined : desk.targetOf(found.path)
      return target === undefined ? undefined : { ...found!, target }
    }
    const begin = (body: Buffer): void => {
      const { path, headers, target } = asked!
      exchange.path = path
      exchange.headers = headers
      isBusy = true
      desk.answer(target, exchange, body)
    }
    const onData = (chunk: Buffer): void => {
      if (!isBusy) return read(chunk)
      // Asked before the last one was answered. It waits, and what comes behind it stays in the kernel.
      held = held === undefined ? chunk : Buffer.concat([held, chunk])
      socket.pause()
    }
    // As Node's server does: a caller who says goodbye waits for nothing, and in the middle of a body is told of it.
    const onEnd = (): void => {
      if (assembler === undefined) socket.destroySoon()
      else refuseConnection(socket)
    }
    const onTimeout = (): void => {
      if (assembler !== undefined) seeOffLate(socket, giveUp)
      else if (!isBusy) seeOffIdle(socket, closeIfIdle(socket))
    }
    const handOver = (chunk: Buffer): void => {
      visitors.delete(client)
      socket.setTimeout(0)
      for (const [event, listener] of listeners) socket.off(event, listener)
      for (const listener of toNode) listener.call(server, socket)
      socket.unshift(chunk)
    }
    const listeners = [
      ['data', onData],
      ['end', onEnd],
      ['pause', onPause],
      ['resume', onResume],
      ['timeout', onTimeout],
      ['error', () => void socket.destroy()],
    ] as [event: string, listener: () => void][]
    for (const [event, listener] of listeners) socket.on(event, listener)
    // Node's server gives a silent connection as long as it gives to headers.
    socket.setTimeout(server.headersTimeout)
    const client = { socket, isBusy: () => isBusy || assembler !== undefined || held !== undefined }
    visitors.add(client)
    socket.on('close', () => {
      visitors.delete(client)
      assembler?.end()
    })
  }

  return {
    closeIdle() {
      for (const { socket, isBusy } of visitors) if (!isBusy()) socket.destroy()
    },
    closeAll() {
      for (const { socket } of visitors) socket.destroy()
    },
  }
}

function headOf(chunk: Buffer): string {
  const end = chunk.indexOf(headEnd)
  return end < 0 || end > maxHeadBytes ? '' : chunk.toString('latin1', 0, end + headEnd.length)
}

const requestLine = /^POST (\/[\x21-\x7e]*) HTTP\/1\.1$/
/** Of a value only tabs and spaces may be trimmed, so a no-break space is Node's. */
const fieldLine = /^([\w!#$%&'*+.^`|~-]+):([\t\x20-\x7e\x80-\x9f\xa1-\xff]*)$/
/** They change how a request is read or what becomes of its connection. */
const unusual: ReadonlySet<string> = new Set([
  'transfer-encoding',
  'expect',
  'upgrade',
  'trailer',
  'proxy-connection',
])
const single: ReadonlySet<string> = new Set([...askedHeaders, 'host', 'connection', 'content-length'])

/** Nothing when it is for Node's server, which knows what to say of what is wrong. */
function parseHead(text: string): Head | undefined {
  const [first = '', ...lines] = text.slice(0, -headEnd.length).split('\r\n')
  const path = requestLine.exec(first)?.[1]
  if (path === undefined) return undefined
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const [, field, value] = fieldLine.exec(line) ?? []
    const name = field?.toLowerCase()
    if (name === undefined || unusual.has(name)) return undefined
    if (!single.has(name)) continue
    if (headers[name] !== undefined) return undefined
    headers[name] = value!.trim()
  }
  const { host, connection = 'keep-alive', 'content-length': bytes = '' } = headers
  if (host === undefined || connection.toLowerCase() !== 'keep-alive' || !/^\d{1,9}$/.test(bytes))
    return undefined
  return { path, headers, bodyBytes: Number(bytes) }
}

/** The last good answer's beginning, up to its length. Nearly all have the same headers, in one list. */
const lastStart: { headers: readonly string[] | undefined; text: string } = { headers: undefined, text: '' }

function startOf(status: number, headers: readonly string[]): string {
  if (status === 200 && headers === lastStart.headers) return lastStart.text
  let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`
  for (let at = 0; at < headers.length; at += 2) text += `${headers[at]}: ${headers[at + 1]}\r\n`
  text += 'content-length: '
  if (status === 200) Object.assign(lastStart, { headers, text })
  return text
}

/** What stands behind the length, as Node's server says it; the date is written once a second. */
function createStay(keepAliveMs: number): (keeps: boolean) => string {
  const kept = `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(keepAliveMs / 1_000)}`
  let second = 0
  let texts = ['', ''] as [closed: string, kept: string]
  return (keeps) => {
    const at = Math.floor(Date.now() / 1_000)
    if (at !== second) {
      second = at
      const date = `\r\nDate: ${new Date(at * 1_000).toUTCString()}\r\n`
      texts = [`${date}Connection: close${headEnd}`, `${date}${kept}${headEnd}`]
    }
    return texts[keeps ? 1 : 0]
  }
}

interface Handle {
  reading: boolean
  readStart(): void
  readStop(): void
}

/**
 * A paused stream still reads on, up to 75 kB for each connection, which nobody counts. Node's server stops its sockets by their
 * handles too. Not at once, because the stream that is just pausing begins another read.
 */
function readNoMore(socket: Socket): void {
  const handle = handleOf(socket)
  if (!socket.isPaused() || handle?.reading !== true) return
  handle.reading = false
  handle.readStop()
}

function readOn(socket: Socket): void {
  const handle = handleOf(socket)
  if (handle?.reading !== false) return
  handle.reading = true
  handle.readStart()
}

const handleOf = (socket: Socket): Handle | null | undefined =>
  (socket as unknown as { _handle?: Handle | null })._handle
