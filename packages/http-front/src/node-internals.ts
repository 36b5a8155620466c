/**
 * Uses undocumented parts of Node: socket handles, the HTTP server's own connection listener and its pending response. Each function
 * names what it relies on, so that a Node upgrade is checked here and in the tests.
 */
import { IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { Server as NetServer, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Server as TlsServer } from 'node:tls'

/** Hands a connection to Node's HTTP server, with the bytes that were read from it. */
export type HandToNode = (socket: Socket, received: Buffer) => void

/**
 * Calls `onConnection` instead of Node's HTTP parser. Relies on the parser being the first `connection` listener of the server
 * (`secureConnection` for HTTPS), and on it reading bytes returned by `unshift` before those of the handle.
 */
export function interceptConnections(server: Server, onConnection: (socket: Socket) => void): HandToNode {
  const event = server instanceof TlsServer ? 'secureConnection' : 'connection'
  const [parser] = server.listeners(event) as ((socket: Socket) => void)[]
  if (parser === undefined)
    throw new TypeError('the server has no HTTP parser: give one of node:http or node:https')
  server.off(event, parser)
  server.prependListener(event, onConnection)
  return (socket, received) => {
    parser.call(server, socket)
    socket.unshift(received)
  }
}

/** Passes a connection that another listener accepted to an HTTP server. Node documents that `connection` may be emitted. */
export const adoptConnection = (server: Server, socket: Socket): void =>
  void server.emit('connection', socket)

/** Stops listening and keeps idle connections. `http.Server.close` would close them although one may already carry a request. */
export const stopListening = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    NetServer.prototype.close.call(server, () => resolve())
  })

/** Whether the headers of a response were sent on this connection. Relies on `socket._httpMessage`, the response in progress. */
export const hasStartedResponse = (socket: Duplex): boolean =>
  (socket as Duplex & { _httpMessage?: { _headerSent: boolean } | null })._httpMessage?._headerSent ?? false

/**
 * Sends `100 Continue` when the body is first read, and not for a request that is refused before. Node then closes the connection,
 * because the body may never be sent. Relies on the stream calling `_read` when it is read, except where it already has the whole body.
 */
export function continueOnRead(request: IncomingMessage, response: ServerResponse): void {
  let hasContinued = false
  const proceed = (): void => {
    if (!hasContinued && !response.headersSent) response.writeContinue()
    hasContinued = true
  }
  request._read = (size) => {
    proceed()
    IncomingMessage.prototype._read.call(request, size)
  }
  request.once('end', proceed)
}

interface Handle {
  reading: boolean
  readStart(): void
  readStop(): void
}

const handleOf = (socket: Socket): Handle | null | undefined =>
  (socket as unknown as { _handle?: Handle | null })._handle

/**
 * Stops reading from the kernel. A paused stream buffers up to 75 kB per connection, which no limit counts. Relies on `socket._handle`,
 * as Node's HTTP server does. Call it one turn after `pause`, because the stream starts one more read.
 */
export function stopKernelReads(socket: Socket): void {
  const handle = handleOf(socket)
  if (!socket.isPaused() || handle?.reading !== true) return
  handle.reading = false
  handle.readStop()
}

/** Reverts `stopKernelReads`. */
export function startKernelReads(socket: Socket): void {
  const handle = handleOf(socket)
  if (handle?.reading !== false) return
  handle.reading = true
  handle.readStart()
}

interface IpcPipe {
  open(fd: number): number
  writeUtf8String(request: object, text: string, handle: object): number
}

/**
 * Sends the socket of a listener over a connected Unix socket, and closes that socket. Relies on the pipes of `child_process`, which pass
 * sockets, and on a paused connection not being watched yet.
 */
export function sendListener(listener: NetServer, to: Socket): void {
  const { binding } = process as unknown as { binding(name: string): Record<string, unknown> }
  const { Pipe, constants } = binding('pipe_wrap') as unknown as {
    Pipe: new (type: number) => IpcPipe
    constants: { IPC: number }
  }
  const { WriteWrap } = binding('stream_wrap') as unknown as {
    WriteWrap: new () => { oncomplete?: () => void }
  }
  const { fd } = (to as unknown as { _handle: { fd: number } })._handle
  const handle = (listener as unknown as { _handle: object | null })._handle
  const request = Object.assign(new WriteWrap(), { oncomplete: () => to.destroy() })
  const pipe = new Pipe(constants.IPC)
  if (handle === null || pipe.open(fd) !== 0 || pipe.writeUtf8String(request, ' ', handle) !== 0) to.destroy()
}
