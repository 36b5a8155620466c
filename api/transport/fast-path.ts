/**
 * Reads prediction requests directly from their sockets, because the objects that Node's HTTP server creates for each request cost as
 * much as the prediction. Every unusual or slow request is handed to Node's server with its connection (see README.md).
 */
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { CertificateCheck } from '../auth/client-certificate.ts'
import { createBodyAssemblers, type BodyAssembler, type BodyAssemblerLimits } from './body-assembler.ts'
import { closeIfIdle, createConnectionReaper, type CloseLater } from './connection-reaper.ts'
import { correlationHeader, type Exchange, type ReadHeaders } from './exchange.ts'
import { idleTimeoutOf, refuseConnection } from './http-server.ts'
import { interceptConnections, startKernelReads, stopKernelReads, type HandToNode } from './node-internals.ts'
import { headerIn, headOf, parseHead, type RequestHead } from './request-head.ts'
import { createEndOfHead, startOfHead, type EndOfHead } from './response-head.ts'
import { createTurnEnd } from './turn-scheduler.ts'

export interface FastPath {
  /** Closes the connections that carry no request. */
  closeIdle(): void
  closeAll(): void
}

/** Serves predictions. A path or host without a target is left to Node's server. */
export interface PredictHandler<Target> {
  targetOf(path: string, host: string): Target | undefined
  /** Whether a new connection has the required client certificate. Without it, Node's server takes the connection. */
  hasCertificate?: CertificateCheck
  answer(target: Target, exchange: Exchange, body: Buffer): void
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

interface Context<Target> {
  connections: Set<Connection>
  handler: PredictHandler<Target>
  limits: BodyAssemblerLimits
  idleMs: number
  /** How long a new connection may be silent. */
  silentMs: number
  endOfHead: EndOfHead
  /**
   * Defers writes to the end of the turn. Most of the time of a write goes into waking the receiver, which happens once for writes made
   * together.
   */
  atTurnEnd: (write: () => void) => void
  startBody: (totalBytes: number) => BodyAssembler
  closeIdleLater: CloseLater
  closeLateLater: CloseLater
}

/** A larger body goes to Node from the beginning; a body that breaks the limits below goes to Node from then on. */
const maxBodyBytes = 1_048_576
const defaultLimits: BodyAssemblerLimits = { withinMs: 1_000, maxHeldBytes: 67_108_864 }
/** The number of responses written together. With more, the first one waits longer and the throughput stays the same. */
const maxWrites = 8

/** Takes over the connections of a server, including those that a shared port hands to it. */
export function openFastPath<Target>(
  server: Server,
  handler: PredictHandler<Target>,
  limits = defaultLimits,
): FastPath {
  const context: Context<Target> = {
    connections: new Set(),
    handler,
    limits,
    idleMs: idleTimeoutOf(server),
    silentMs: server.headersTimeout,
    endOfHead: createEndOfHead(server.keepAliveTimeout),
    atTurnEnd: createTurnEnd(maxWrites),
    startBody: createBodyAssemblers(limits),
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

function serveConnection<Target>(socket: Socket, context: Context<Target>, handToNode: HandToNode): void {
  const { connections, handler, limits, idleMs } = context
  const connection = createConnection(socket, context)
  let head = ''
  let request: (RequestHead & { target: Target }) | undefined
  let assembler: BodyAssembler | undefined

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
    if (bytes === request.bodyBytes) return answer(chunk.subarray(head.length))
    if (request.bodyBytes > maxBodyBytes) return handOver(chunk)
    socket.setTimeout(limits.withinMs)
    assembler = context.startBody(request.bodyBytes)
    connection.hasPartOfBody = true
    assemble(assembler, chunk.subarray(head.length))
  }
  const assemble = (body: BodyAssembler, piece: Buffer): void => {
    const state = body.add(piece)
    if (state === 'complete') answer(endBody(body))
    else if (state === 'over') handOverBody()
  }
  const endBody = (body: BodyAssembler): Buffer => {
    assembler = undefined
    connection.hasPartOfBody = false
    socket.setTimeout(idleMs)
    return body.end()
  }
  const answer = (body: Buffer): void => {
    const { path, headers, target } = request!
    connection.path = path
    connection.headers = headers
    connection.head = head
    connection.isBusy = true
    handler.answer(target, connection, body)
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
  { endOfHead, atTurnEnd }: Pick<Context<unknown>, 'endOfHead' | 'atTurnEnd'>,
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
      const id = requestId === undefined ? '' : `\r\n${correlationHeader}: ${requestId}`
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
  handler: PredictHandler<Target>,
): (RequestHead & { target: Target }) | undefined {
  const target = head === undefined ? undefined : handler.targetOf(head.path, head.host)
  return target === undefined ? undefined : { ...head!, target }
}
