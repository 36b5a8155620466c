/**
 * Predictions on the bare HTTP server. Everything else goes through the application; these routes are asked a thousand times
 * as often, and the framework's request and response objects would cost them more than the prediction.
 */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { DomainError } from '../../domain/errors.ts'
import { holdsKey } from '../../domain/redact.ts'
import { requireRole } from '../auth/authentication.ts'
import { callers, predictBytes } from '../http/route.ts'
import type { ApiDeps } from '../deps.ts'
import { deadlineHeader, exchangeOf, markHeader, type Exchange } from './exchange.ts'
import { createInfer, headersOfWriter, inferMedia, lengthHeader } from '../inference/handler.ts'
import { headersOf, problemOf, textOfProblem } from '../http/problem.ts'
import { createReadThrottle } from './read-throttle.ts'
import { expectMedia, json } from '../http/content-type.ts'
import type { ByteWriter } from '../serving/codec/byte-writer.ts'
import { requestIdHeader } from '../serving/request/replay.ts'
import type { Target } from './prediction-path.ts'
import { createWorkQueue } from './turn-scheduler.ts'
import { unpacked } from '../http/decompress.ts'
import { createBodyReader } from './body-reader.ts'

export interface PredictEndpoint {
  /** Collects the body first. */
  collect(target: Target, request: IncomingMessage, response: ServerResponse): void
  answer(target: Target, exchange: Exchange, body: Buffer): void
}

export interface EndpointLimits {
  /** A request that has waited longer than this for the process is refused as overloaded. */
  maxWaitMs: number
  /** Bytes of one body, and of all that are not complete yet. */
  maxBytes: number
  maxHeldBytes: number
}

export const defaultLimits: EndpointLimits = {
  maxWaitMs: 250,
  maxBytes: predictBytes,
  maxHeldBytes: 134_217_728,
}

/** No caller keeps a request for longer. */
const longestMs = 60_000

export function createPredictEndpoint(
  deps: Pick<ApiDeps, 'authentication' | 'serving' | 'log'>,
  refusals: Map<string, number>,
  limits: EndpointLimits = defaultLimits,
): PredictEndpoint {
  const { authentication, serving, log } = deps
  const infer = createInfer(serving)
  const queue = createWorkQueue(limits.maxHeldBytes)
  const throttle = createReadThrottle(queue.isIdle)
  const uploads = createBodyReader(limits)

  const refuse = (exchange: Exchange, thrown: unknown): void => {
    const { headers, path } = exchange
    const sent = headers[markHeader]
    const requestId = sent !== undefined && /^[\w.:-]{1,100}$/.test(sent) ? sent : randomUUID()
    const problem = problemOf(thrown, requestId, (defect, id) =>
      log.error({ requestId: id, err: defect }, 'defect'),
    )
    refusals.set(problem.code, (refusals.get(problem.code) ?? 0) + 1)
    const text = Buffer.from(textOfProblem(problem, path)).toString('latin1')
    exchange.send(problem.status, Object.entries(headersOf(problem, path)).flat(), text)
  }
  /** Waited too long: this one is refused, and what comes next on its connection is not read for a while. */
  const refuseLate = (exchange: Exchange, refusal: DomainError): void => {
    if (exchange.shouldKeepAlive) exchange.onSent(() => throttle.pause(exchange.socket))
    refuse(exchange, refusal)
  }
  /** How long the caller will wait yet; nothing when it has not said. */
  const patienceOf = (deadline: string | undefined, waitedMs: number): number | undefined => {
    if (deadline === undefined) return undefined
    const withinMs = Number(deadline)
    if (!(withinMs > 0)) throw new DomainError('invalid_request', `${deadlineHeader} is no number above 0`)
    return Math.min(withinMs - waitedMs, longestMs)
  }
  const tooLate = (waitedMs: number, leftMs: number | undefined): DomainError | undefined => {
    if (leftMs !== undefined && leftMs < 0)
      return new DomainError('deadline_exceeded', `the request has waited for ${Math.round(waitedMs)} ms`)
    if (waitedMs <= limits.maxWaitMs) return undefined
    return new DomainError('overloaded', `requests wait for more than ${limits.maxWaitMs} ms here`)
  }
  const answer = (target: Target, exchange: Exchange, body: Buffer, waitedMs: number): void => {
    // A caller who has gone away while it waited is told nothing.
    if (exchange.closed) return
    const { model, version } = target
    const { caller, headers } = exchange
    try {
      const withinMs = patienceOf(headers[deadlineHeader], waitedMs)
      const late = tooLate(waitedMs, withinMs)
      if (late !== undefined) return refuseLate(exchange, late)
      requireRole(authentication.callerOf(headers.authorization), callers, model)
      const plain = unpacked(body, headers['content-encoding'], limits.maxBytes)
      expectNoKey(plain)
      const type = headers['content-type']
      if (type !== json && type !== undefined)
        expectMedia(type, target.protocol === 'infer' ? inferMedia : undefined)
      const asked = { model, version, body: plain, withinMs, requestId: headers[requestIdHeader], caller }
      const given =
        target.protocol === 'predict'
          ? serving.answer(serving.native, asked)
          : infer(asked, headers[lengthHeader])
      if (given instanceof Promise) sendLater(exchange, given)
      else send(exchange, given)
    } catch (error) {
      refuse(exchange, error)
    }
  }
  const sendLater = (exchange: Exchange, given: Promise<ByteWriter>): void => {
    given.then(
      (writer) => send(exchange, writer),
      // A caller who has gone away is told nothing, and has not been refused.
      (error: unknown) => void (exchange.closed || refuse(exchange, error)),
    )
  }
  const takeTurn = (target: Target, exchange: Exchange, body: Buffer): void => {
    if (queue.enqueue(body.byteLength, (waitedMs) => answer(target, exchange, body, waitedMs))) return
    const refusal = `requests with ${limits.maxHeldBytes} bytes wait here`
    refuseLate(exchange, new DomainError('overloaded', refusal))
  }
  return {
    answer: takeTurn,
    collect(target, request, response) {
      const exchange = exchangeOf(request, response)
      uploads.collect(
        request,
        (body) => takeTurn(target, exchange, body),
        (refusal) => {
          exchange.shouldKeepAlive = false
          refuse(exchange, refusal)
        },
      )
    },
  }
}

const keyMark = Buffer.from('tnr_')

/** What is asked is kept for months. Somebody who names callers by their keys must not find out by an audit of the log. */
function expectNoKey(body: Buffer): void {
  if (body.includes(keyMark) && holdsKey(body.toString('latin1')))
    throw new DomainError(
      'invalid_request',
      'the body holds a key, and what is asked is kept: send keys in the header "Authorization" alone',
    )
}

const jsonHeaders = ['content-type', 'application/json']

/** A text of which each character is one byte goes out with its headers in one piece, without being encoded again. */
function send(exchange: Exchange, writer: ByteWriter): void {
  const headers =
    writer.jsonBytes === undefined ? jsonHeaders : Object.entries(headersOfWriter(writer)).flat()
  exchange.send(200, headers, writer.bytes.toString('latin1', 0, writer.at))
}
