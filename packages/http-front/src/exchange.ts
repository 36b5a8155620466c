/** Describes a request with its body and the way to respond, whichever parser has read it. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** So that a browser takes no response for another type than it says. */
const sniffing = ['x-content-type-options', 'nosniff'] as const

/** The header of a response that repeats the id of its request. */
export const requestIdHeader = 'x-request-id'

/** The headers that the front reads, by lower-case name. */
export type ReadHeaders<Name extends string = string> = Readonly<Partial<Record<Name, string>>>

/** Emits `close` when the client disconnects. */
export interface Caller {
  once(event: 'close', listener: () => void): unknown
  off(event: 'close', listener: () => void): unknown
}

export interface Exchange<Name extends string = string> {
  /** The target of the request as it was sent, with its query. */
  readonly path: string
  readonly headers: ReadHeaders<Name>
  readonly socket: Socket
  readonly caller: Caller
  /** Returns any header of the request, by its lower-case name. Slower than `headers`. */
  headerOf(name: string): string | undefined
  /** Whether the client has disconnected. */
  readonly closed: boolean
  /** Whether the connection stays open after the response. */
  shouldKeepAlive: boolean
  /**
   * Sends the response, once. Each character of the text is a byte: `Buffer.from(text).toString('latin1')` for text beyond ASCII. Headers
   * are names and values in turn, without the length. `requestId` is sent as `x-request-id`; among the headers it would end the reuse of
   * the head of the previous response, which needs the same array.
   */
  send(status: number, headers: readonly string[], text: string, requestId?: string): void
  /** Calls back once when the response has been sent. */
  onSent(listener: () => void): void
}

/** The exchange of a request that Node's HTTP server has read. */
export function exchangeOf<Name extends string>(
  request: IncomingMessage,
  response: ServerResponse,
): Exchange<Name> {
  return {
    path: request.url ?? '',
    headers: request.headers as ReadHeaders<Name>,
    socket: request.socket,
    caller: response,
    headerOf(name) {
      const value = request.headers[name]
      return Array.isArray(value) ? value.join(', ') : value
    },
    get closed() {
      return response.closed
    },
    get shouldKeepAlive() {
      return response.shouldKeepAlive
    },
    set shouldKeepAlive(keeps) {
      response.shouldKeepAlive = keeps
    },
    send(status, headers, text, requestId) {
      const id = requestId === undefined ? [] : [requestIdHeader, requestId]
      response.writeHead(status, [...headers, ...sniffing, 'content-length', String(text.length), ...id])
      response.end(text, 'latin1')
    },
    onSent: (listener) => void response.once('finish', listener),
  }
}
