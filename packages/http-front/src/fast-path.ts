/**
 * Reads small POST requests directly from their sockets, because the objects that Node's HTTP server creates for each request cost more
 * than a short answer. Every unusual or slow request is handed to Node's server with its connection (see README.md).
 */
import { type Server, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { closeIfIdle, createConnectionReaper, type CloseLater } from './connection-reaper.ts'
import { type Exchange, type ReadHeaders, requestIdHeader } from './exchange.ts'
import { createByteBudget, type HeldBytes } from './held-bytes.ts'
import { interceptConnections, startKernelReads, stopKernelReads, type HandToNode } from './node-internals.ts'
import { createTurnEnd } from './turn-scheduler.ts'

export interface FastPath {
  /** Closes the connections that carry no request. */
  closeIdle(): void
  closeAll(): void
}

/** A request that was admitted when its head had come, with the count of its body. */
export interface Admitted {
  held: HeldBytes
}

/** Serves the requests of some paths. A path or host without a target is left to Node's server. */
export interface FrontHandler<Target, Name extends string = string, Admission extends Admitted = Admitted> {
  /** Called when the head of a connection changes, and not for each request. */
  targetOf(path: string, host: string): Target | undefined
  /** Whether the requests of a new connection may be served here. Default: those of every connection. */
  takes?: ((socket: Socket) => boolean) | undefined
  /**
   * Admits a request by its head and starts to count its body, which arrives in parts; undefined for a request that Node's server refuses.
   * Default: within `maxHeldBytes`.
   */
  admit?: ((target: Target, exchange: Exchange<Name>) => Admission | undefined) | undefined
  /** Answers a request, now or later, by `exchange.send`. Must not throw. `admitted`: what `admit` has returned, if it was called. */
  accept(target: Target, exchange: Exchange<Name>, body: Buffer, admitted?: Admission): void
}

export interface FrontOptions<Name extends string = string> {
  /** The request headers that `exchange.headers` has, in lower case. A request with one of them twice is left to Node's server. */
  headers?: readonly Name[]
  /** The time limit of a body that arrives in parts, in milliseconds. Default: 1,000. A slower one is left to Node's server. */
  withinMs?: number
  /** The bytes that incomplete bodies hold without `admit`. Default: 64 MiB. What is beyond it is left to Node's server. */
  maxHeldBytes?: number
}

/** A connection on the fast path; `held`: the bytes that arrived before the last response was sent. */
interface Connection<Name extends string = string> extends Exchange<Name> {
  path: string
  headers: ReadHeaders<Name>
  /** The head of the request as it was sent. */
  head: string
  isBusy: boolean
  held: Buffer | undefined
  hasPartOfBody: boolean
  /** Writes the response that waits for the end of the turn. */
  write(): void
}

interface Context<Target, Name extends string, Admission extends Admitted> {
  server: Server
  connections: Set<Connection<Name>>
  handler: FrontHandler<Target, Name, Admission>
  admit: (target: Target, exchange: Exchange<Name>) => Admission | undefined
  /** The headers that a request may have once: a second value would be ambiguous. */
  single: ReadonlySet<string>
  /** The time limit of a body that arrives in parts, in milliseconds. */
  withinMs: number
  idleMs: number
  /** How long a new connection may be silent. */
  silentMs: number
  endOfHead: EndOfHead
  /**
   * Defers writes to the end of the turn. Most of the time of a write goes into waking the receiver, which happens once for writes made
   * together.
   */
  atTurnEnd: (write: () => void) => void
  closeIdleLater: CloseLater
  closeLateLater: CloseLater
}

/** A larger body goes to Node from the beginning; a slower one, or one beyond the budget, goes to Node from then on. */
const maxBodyBytes = 1_048_576
const defaultWithinMs = 1_000
const defaultHeldBytes = 67_108_864
/** The number of responses written together. With more, the first one waits longer and the throughput stays the same. */
const maxWrites = 8

/** Takes over the connections of a server that does not have any yet, including those that `adoptConnection` passes to it. */
export function openFastPath<
  Target,
  const Name extends string = never,
  Admission extends Admitted = Admitted,
>(
  server: Server,
  handler: FrontHandler<Target, Name, Admission>,
  { headers = [], withinMs = defaultWithinMs, maxHeldBytes = defaultHeldBytes }: FrontOptions<Name> = {},
): FastPath {
  const context: Context<Target, Name, Admission> = {
    server,
    connections: new Set(),
    handler,
    admit: handler.admit ?? admitWithin(maxHeldBytes),
    single: new Set([...headers, 'host', 'connection', 'content-length']),
    withinMs,
    idleMs: idleTimeoutOf(server),
    silentMs: server.headersTimeout,
    endOfHead: createEndOfHead(server.keepAliveTimeout),
    atTurnEnd: createTurnEnd(maxWrites),
    closeIdleLater: createConnectionReaper(),
    closeLateLater: createConnectionReaper(),
  }
  const handToNode = interceptConnections(server, (socket) => {
    // Node's server refuses the requests of such a connection one by one.
    if (handler.takes?.(socket) === false) handToNode(socket, Buffer.alloc(0))
    else serveConnection(socket, context, handToNode)
  })
  const { connections } = context
  return {
    closeIdle() {
      for (const { socket, isBusy, hasPartOfBody, held } of connections)
        if (!isBusy && !hasPartOfBody && held === undefined) socket.destroy()
    },
    closeAll() {
      for (const { socket } of connections) socket.destroy()
    },
  }
}

/** Admits every request within one budget of bytes. */
function admitWithin<Admission extends Admitted>(maxBytes: number): () => Admission {
  const open = createByteBudget(maxBytes)
  return () => ({ held: open() }) as Admission
}

/** How long a server leaves an idle connection open, in milliseconds; 0 for ever. */
function idleTimeoutOf(server: Server & { keepAliveTimeoutBuffer?: number }): number {
  const { keepAliveTimeout, keepAliveTimeoutBuffer = 0 } = server
  return keepAliveTimeout === 0 ? 0 : keepAliveTimeout + keepAliveTimeoutBuffer
}

function serveConnection<Target, Name extends string, Admission extends Admitted>(
  socket: Socket,
  context: Context<Target, Name, Admission>,
  handToNode: HandToNode,
): void {
  const { server, connections, handler, admit, single, withinMs, idleMs } = context
  const connection = createConnection(socket, context)
  let head = ''
  let request: (RequestHead & { target: Target }) | undefined
  let assembler: BodyAssembler | undefined
  let admitted: Admission | undefined

  const read = (chunk: Buffer): void => {
    if (assembler !== undefined) return assemble(assembler, chunk)
    // Clients send the same head for every request, so it is parsed once.
    if (request === undefined || chunk.toString('latin1', 0, head.length) !== head) {
      if (request === undefined) socket.setTimeout(idleMs)
      head = headOf(chunk)
      request = requestOf(parseHead(head, single), handler)
    }
    if (request === undefined) return handOver(chunk)
    const bytes = chunk.byteLength - head.length
    if (bytes === request.bodyBytes) return serve(chunk.subarray(head.length))
    if (request.bodyBytes > maxBodyBytes) return handOver(chunk)
    describe(request)
    admitted = admit(request.target, connection)
    if (admitted === undefined) return handOver(chunk)
    socket.setTimeout(withinMs)
    assembler = startBody(request.bodyBytes, admitted.held, withinMs)
    connection.hasPartOfBody = true
    assemble(assembler, chunk.subarray(head.length))
  }
  const assemble = (body: BodyAssembler, piece: Buffer): void => {
    const state = body.add(piece)
    if (state === 'complete') serve(endBody(body))
    else if (state === 'over') handOverBody()
  }
  const endBody = (body: BodyAssembler): Buffer => {
    assembler = undefined
    connection.hasPartOfBody = false
    socket.setTimeout(idleMs)
    return body.end()
  }
  const serve = (body: Buffer): void => {
    describe(request!)
    connection.isBusy = true
    handler.accept(request!.target, connection, body, admitted)
    admitted = undefined
  }
  const describe = ({ path, headers }: RequestHead): void => {
    connection.path = path
    connection.headers = headers
    connection.head = head
  }
  const handOverBody = (): void => {
    if (assembler !== undefined) handOver(Buffer.concat([Buffer.from(head, 'latin1'), endBody(assembler)]))
  }
  const handOver = (received: Buffer): void => {
    connections.delete(connection)
    socket.setTimeout(0)
    for (const [event, listener] of listeners) socket.off(event, listener)
    handToNode(socket, received)
  }
  const listeners = [
    [
      'data',
      (chunk: Buffer) => {
        if (!connection.isBusy) return read(chunk)
        // A pipelined request waits for the previous response; later bytes stay in the kernel.
        connection.held = connection.held === undefined ? chunk : Buffer.concat([connection.held, chunk])
        socket.pause()
      },
    ],
    // As in Node's server, a client that closes its side gets no later response, and a 400 within a body.
    [
      'end',
      () => {
        connection.write()
        if (assembler === undefined) socket.destroySoon()
        else reportCut(server, socket)
      },
    ],
    ['pause', () => void setImmediate(stopKernelReads, socket)],
    [
      'resume',
      () => {
        startKernelReads(socket)
        // The read throttle may have paused it in the meantime and will resume it.
        const { held } = connection
        if (held === undefined || connection.isBusy || socket.isPaused()) return
        connection.held = undefined
        read(held)
      },
    ],
    [
      'timeout',
      () => {
        if (assembler !== undefined) context.closeLateLater(socket, handOverBody)
        else if (!connection.isBusy) context.closeIdleLater(socket, closeIfIdle(socket))
      },
    ],
    ['error', () => void socket.destroy()],
  ] as [event: string, listener: () => void][]
  for (const [event, listener] of listeners) socket.on(event, listener)
  // The time that Node's server allows for headers.
  socket.setTimeout(context.silentMs)
  connections.add(connection)
  socket.on('close', () => {
    connections.delete(connection)
    assembler?.end()
  })
}

function createConnection<Name extends string>(
  socket: Socket,
  { endOfHead, atTurnEnd }: { endOfHead: EndOfHead; atTurnEnd: (write: () => void) => void },
): Connection<Name> {
  let onSent: (() => void) | undefined
  const finish = (): void => {
    connection.isBusy = false
    if (connection.held !== undefined) socket.resume()
    onSent?.()
    onSent = undefined
  }
  let response = ''
  const connection: Connection<Name> = {
    path: '',
    headers: {} as ReadHeaders<Name>,
    head: '',
    headerOf: (name) => headerIn(connection.head, name),
    socket,
    caller: socket,
    shouldKeepAlive: true,
    isBusy: false,
    held: undefined,
    hasPartOfBody: false,
    get closed() {
      return !socket.writable
    },
    onSent: (listener) => void (onSent = listener),
    send(status, headers, text, requestId) {
      if (!socket.writable) return
      const start = startOfHead(status, headers)
      // After the length, so that the start is the same for all responses.
      const id = requestId === undefined ? '' : `\r\n${requestIdHeader}: ${requestId}`
      response = start + text.length + id + endOfHead(connection.shouldKeepAlive) + text
      atTurnEnd(connection.write)
    },
    write() {
      if (!socket.writable || response === '') return
      const isFlushed = socket.write(response, 'latin1')
      response = ''
      if (!connection.shouldKeepAlive) socket.destroySoon()
      if (isFlushed) finish()
      else socket.once('drain', finish)
    },
  }
  return connection
}

/** Reports a client that has closed its side within a body, as Node's parser does: to `clientError`, or by a response of 400. */
function reportCut(server: Server, socket: Socket): void {
  const error = Object.assign(new Error('Parse Error: Invalid EOF state'), { code: 'HPE_INVALID_EOF_STATE' })
  if (server.emit('clientError', error, socket)) return
  if (socket.writable) socket.write('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n')
  socket.destroy(error)
}

function requestOf<Target>(
  head: RequestHead | undefined,
  handler: { targetOf(path: string, host: string): Target | undefined },
): (RequestHead & { target: Target }) | undefined {
  const target = head === undefined ? undefined : handler.targetOf(head.path, head.host)
  return target === undefined ? undefined : { ...head!, target }
}

/** Assembles a body that arrives in chunks. */
interface BodyAssembler {
  /** Adds a chunk. `over`: the body is longer than announced or too slow, or beyond the budget. */
  add(piece: Buffer): 'complete' | 'partial' | 'over'
  /** Returns all bytes that have arrived and releases them. */
  end(): Buffer
}

function startBody(totalBytes: number, held: HeldBytes, withinMs: number): BodyAssembler {
  const untilMs = performance.now() + withinMs
  const pieces: Buffer[] = []
  let bytes = 0
  return {
    add(piece) {
      pieces.push(piece)
      bytes += piece.byteLength
      if (bytes === totalBytes) return 'complete'
      if (bytes > totalBytes || performance.now() > untilMs) return 'over'
      try {
        held.add(piece.byteLength)
        return 'partial'
      } catch {
        return 'over'
      }
    },
    end() {
      held.release()
      return Buffer.concat(pieces, bytes)
    },
  }
}

// Parses the head of a request. Every head that two parsers could read differently is left to Node's parser.

/** A request without its body. */
interface RequestHead {
  path: string
  host: string
  headers: ReadHeaders
  bodyBytes: number
}

const headEnd = '\r\n\r\n'
/** Longer heads are left to Node. */
const maxHeadBytes = 8_192

/** Returns the head, with its empty line, at the start of these bytes; an empty text when the head is incomplete or too long. */
function headOf(chunk: Buffer): string {
  const end = chunk.indexOf(headEnd)
  return end < 0 || end > maxHeadBytes ? '' : chunk.toString('latin1', 0, end + headEnd.length)
}

const requestLine = /^POST (\/[\x21-\x7e]*) HTTP\/1\.1$/
/** Matches one header line. Only tabs and spaces are trimmed from a value, so a value with a no-break space is left to Node. */
const fieldLine = /^([\w!#$%&'*+.^`|~-]+):([\t\x20-\x7e\x80-\x9f\xa1-\xff]*)$/
/** Headers that change how a request is framed, what happens to its connection, or whether it may be served. */
const unsupported: ReadonlySet<string> = new Set([
  'transfer-encoding',
  'expect',
  'upgrade',
  'trailer',
  'proxy-connection',
  // Browser pages send these; the code behind Node's server checks the page.
  'origin',
  'sec-fetch-site',
])
/**
 * Returns the value of any header by its lower-case name, from the text of the head. `parseHead` skips some headers, which are read only
 * here.
 */
function headerIn(text: string, name: string): string | undefined {
  const values: string[] = []
  for (const line of text.split('\r\n').slice(1)) {
    const colon = line.indexOf(':')
    if (colon > 0 && line.slice(0, colon).toLowerCase() === name) values.push(line.slice(colon + 1).trim())
  }
  return values.length === 0 ? undefined : values.join(', ')
}

/** Parses a head. Undefined when the head is left to Node's parser, which also reports malformed heads. */
function parseHead(text: string, single: ReadonlySet<string>): RequestHead | undefined {
  const [first = '', ...lines] = text.slice(0, -headEnd.length).split('\r\n')
  const path = requestLine.exec(first)?.[1]
  if (path === undefined) return undefined
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const [, field, value] = fieldLine.exec(line) ?? []
    const name = field?.toLowerCase()
    if (name === undefined || unsupported.has(name)) return undefined
    if (!single.has(name)) continue
    if (headers[name] !== undefined) return undefined
    // Node's parser accepts spaces after a length, and no tab among them.
    if (name === 'content-length' && !/^[\t ]*\d+ *$/.test(value!)) return undefined
    headers[name] = value!.trim()
  }
  const { host, connection = 'keep-alive', 'content-length': bytes = '' } = headers
  if (host === undefined || connection.toLowerCase() !== 'keep-alive' || !/^\d{1,9}$/.test(bytes))
    return undefined
  return { path, host, headers, bodyBytes: Number(bytes) }
}

// Writes the head of a response as Node's server does, from texts cached between responses.

/** The last successful head up to its length. Nearly all responses have the same headers, in the same array. */
const lastStart: { headers: readonly string[] | undefined; text: string } = { headers: undefined, text: '' }

/** Returns the head up to the value of `content-length`. */
function startOfHead(status: number, headers: readonly string[]): string {
  if (status === 200 && headers === lastStart.headers) return lastStart.text
  let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`
  for (let at = 0; at < headers.length; at += 2) text += `${headers[at]}: ${headers[at + 1]}\r\n`
  text += 'x-content-type-options: nosniff\r\ncontent-length: '
  if (status === 200) Object.assign(lastStart, { headers, text })
  return text
}

type EndOfHead = (keepsAlive: boolean) => string

/** Returns a function that writes the head after the length: the date, formatted once per second, and whether the connection stays open. */
function createEndOfHead(keepAliveMs: number): EndOfHead {
  const announced = keepAliveMs === 0 ? '' : `\r\nKeep-Alive: timeout=${Math.floor(keepAliveMs / 1_000)}`
  const kept = `Connection: keep-alive${announced}`
  let second = 0
  let texts = ['', ''] as [closed: string, kept: string]
  return (keepsAlive) => {
    const at = Math.floor(Date.now() / 1_000)
    if (at !== second) {
      second = at
      const date = `\r\nDate: ${new Date(at * 1_000).toUTCString()}\r\n`
      texts = [`${date}Connection: close\r\n\r\n`, `${date}${kept}\r\n\r\n`]
    }
    return texts[keepsAlive ? 1 : 0]
  }
}
