/** A request whose body is there, and the way back to its caller: as far as a prediction needs them, whoever has read it. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { lengthHeader } from '../inference/handler.ts'
import type { Caller } from '../serving/request/protocol.ts'
import { requestIdHeader } from '../serving/request/replay.ts'

/** How long the caller is willing to wait, in milliseconds; an answer that would come later is not computed. */
export const deadlineHeader = 'x-deadline-ms'

/** The caller's own mark of a request, which its refusal and the log bear too. */
export const markHeader = 'x-request-id'

/** What is looked at; the rest of the headers is nobody's business here. */
export const askedHeaders = [
  'authorization',
  'content-type',
  'content-encoding',
  deadlineHeader,
  requestIdHeader,
  markHeader,
  lengthHeader,
] as const

export type AskedHeaders = Readonly<Partial<Record<(typeof askedHeaders)[number], string>>>

export interface Exchange {
  readonly path: string
  readonly headers: AskedHeaders
  readonly socket: Socket
  /** Tells that nobody waits for an answer any more. */
  readonly caller: Caller
  /** Whether nobody waits any more. */
  readonly closed: boolean
  /** Whether the connection stays open behind the answer. */
  shouldKeepAlive: boolean
  /** Each character of the text is a byte. The headers are names and values in turn, without the length. Once. */
  send(status: number, headers: readonly string[], text: string): void
  /** Calls back once when the answer has been sent. */
  onSent(listener: () => void): void
}

/** The exchange of a request that Node's HTTP server has read. */
export function exchangeOf(request: IncomingMessage, response: ServerResponse): Exchange {
  return {
    path: request.url ?? '',
    headers: request.headers as AskedHeaders,
    socket: request.socket,
    caller: response,
    get closed() {
      return response.closed
    },
    get shouldKeepAlive() {
      return response.shouldKeepAlive
    },
    set shouldKeepAlive(keeps) {
      response.shouldKeepAlive = keeps
    },
    send(status, headers, text) {
      response.writeHead(status, [...headers, 'content-length', String(text.length)])
      response.end(text, 'latin1')
    },
    onSent: (listener) => void response.once('finish', listener),
  }
}
