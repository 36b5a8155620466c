/**
 * Reads prediction requests directly from their sockets, because the objects that Node's HTTP server creates for each request cost as
 * much as the prediction. Every unusual or slow request is handed to Node's server with its connection (see README.md).
 */
import { type Server, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { CertificateCheck } from '../auth/client-certificate.ts'
import type { HeldBody } from '../http/body-budget.ts'
import { closeIfIdle, createConnectionReaper, type CloseLater } from './connection-reaper.ts'
import { type Exchange, type ReadHeaders, readHeaders } from './exchange.ts'
import { requestIdHeader } from '../../domain/request-headers.ts'
import { idleTimeoutOf, refuseConnection } from './http-server.ts'
import { interceptConnections, startKernelReads, stopKernelReads, type HandToNode } from './node-internals.ts'
import { createTurnEnd } from './turn-scheduler.ts'

export interface FastPath {
  /** Closes the connections that carry no request. */
  closeIdle(): void
  closeAll(): void
}

/** Serves predictions. A path or host without a target is left to Node's server. */
export interface PredictHandler<Target, Admission extends { held: HeldBody }> {
  targetOf(path: string, host: string): Target | undefined
  /** Whether a new connection has the required client certificate. Without it, Node's server takes the connection. */
  hasCertificate?: CertificateCheck
  /** Starts to count a body that arrives in parts; undefined for a request that Node's server refuses. */
  admit(target: Target, exchange: Exchange): Admission | undefined
  accept(target: Target, exchange: Exchange, body: Buffer, admitted?: Admission): void
}

/** A connection on the fast path; `held`: the bytes that arrived before the last response was sent. */
interface Connection extends Exchange {
  path: string
  headers: ReadHeaders
  /** The head of the request as it was sent. */
  head: string
  isBusy: boolean
  held: Buffer | undefined
  hasPartOfBody: boolean
  /** Writes the response that waits for the end of the turn. */
  write(): void
}

interface Context<Target, Admission extends { held: HeldBody }> {
  connections: Set<Connection>
  handler: PredictHandler<Target, Admission>
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
/** The number of responses written together. With more, the first one waits longer and the throughput stays the same. */
const maxWrites = 8

/** Takes over the connections of a server, including those that a shared port hands to it. */
export function openFastPath<Target, Admission extends { held: HeldBody }>(
  server: Server,
  handler: PredictHandler<Target, Admission>,
  withinMs = defaultWithinMs,
): FastPath {
  const context: Context<Target, Admission> = {
    connections: new Set(),
    handler,
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
    if (handler.hasCertificate?.(socket) === false) handToNode(socket, Buffer.alloc(0))
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

function serveConnection<Target, Admission extends { held: HeldBody }>(
  socket: Socket,
  context: Context<Target, Admission>,
  handToNode: HandToNode,
): void {
  const { connections, handler, withinMs, idleMs } = context
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
      request = requestOf(parseHead(head), handler)
    }
    if (request === undefined) return handOver(chunk)
    const bytes = chunk.byteLength - head.length
    if (bytes === request.bodyBytes) return serve(chunk.subarray(head.length))
    if (request.bodyBytes > maxBodyBytes) return handOver(chunk)
    describe(request)
    admitted = handler.admit(request.target, connection)
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
        else refuseConnection(socket)
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

function createConnection(
  socket: Socket,
  { endOfHead, atTurnEnd }: Pick<Context<unknown, never>, 'endOfHead' | 'atTurnEnd'>,
): Connection {
  let onSent: (() => void) | undefined
  const finish = (): void => {
    connection.isBusy = false
    if (connection.held !== undefined) socket.resume()
    onSent?.()
    onSent = undefined
  }
  let response = ''
  const connection: Connection = {
    path: '',
    headers: {},
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

function requestOf<Target>(
  head: RequestHead | undefined,
  handler: Pick<PredictHandler<Target, never>, 'targetOf'>,
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

function startBody(totalBytes: number, held: HeldBody, withinMs: number): BodyAssembler {
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

// Parses the head of a prediction request. Every head that two parsers could read differently is left to Node's parser.

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
/** A second value of these headers would be ambiguous. */
const single: ReadonlySet<string> = new Set([...readHeaders, 'host', 'connection', 'content-length'])

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
function parseHead(text: string): RequestHead | undefined {
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
  const kept = `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(keepAliveMs / 1_000)}`
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
