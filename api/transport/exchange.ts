/** Describes a prediction request with its body and the way to respond, whichever parser has read it. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { traceparentHeader, tracestateHeader } from '../../domain/tracing/trace-context.ts'
import type { Actor } from '../auth/authentication.ts'
import { lengthHeader } from '../inference/handler.ts'
import type { Caller } from '../serving/request/protocol.ts'
import { deadlineHeader, idempotencyHeader, requestIdHeader } from '../../domain/request-headers.ts'

/** So that a browser takes no response for another type than it says. */
const sniffing = ['x-content-type-options', 'nosniff'] as const

/** The headers that a prediction depends on; all others are ignored. */
export const readHeaders = [
  'authorization',
  'content-type',
  'content-encoding',
  deadlineHeader,
  idempotencyHeader,
  requestIdHeader,
  lengthHeader,
  traceparentHeader,
  tracestateHeader,
] as const

export type ReadHeaders = Readonly<Partial<Record<(typeof readHeaders)[number], string>>>

export interface Exchange {
  readonly path: string
  readonly headers: ReadHeaders
  readonly socket: Socket
  /** Emits `close` when the client disconnects. */
  readonly caller: Caller
  /** Reads any header of the request; see `HeaderSource`. */
  headerOf(name: string): string | undefined
  /** Whether the client has disconnected. */
  readonly closed: boolean
  /** Whether the connection stays open after the response. */
  shouldKeepAlive: boolean
  /**
   * Sends the response, once. Each character of the text is a byte. Headers are names and values in turn, without the length, and without
   * the request id when that is passed separately.
   */
  send(status: number, headers: readonly string[], text: string, requestId?: string): void
  /** Calls back once when the response has been sent. */
  onSent(listener: () => void): void
}

/** An exchange of a request that may share its connection with other requests; `socket` is then absent. */
export type SharedExchange = Omit<Exchange, 'socket'> &
  Partial<Pick<Exchange, 'socket'>> & {
    /** The caller, where its key was checked before the message was read. */
    actor?: Actor | undefined
    /** Replaces `send` for a response with status 200 that needs no text. The bytes are valid until it returns. */
    sendBytes?(bytes: Buffer, requestId: string): void
  }

/** The exchange of a request that Node's HTTP server has read. */
export function exchangeOf(request: IncomingMessage, response: ServerResponse): Exchange {
  return {
    path: request.url ?? '',
    headers: request.headers as ReadHeaders,
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
