/**
 * Serves predictions outside the web framework, whose request and response objects would cost more than the prediction. Authenticates,
 * limits, decompresses and checks each request, and maps errors to problem documents.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createReadThrottle, createWorkQueue, exchangeOf } from '@tenure/http-front'
import { DomainError, isError } from '../../domain/errors.ts'
import { requireRole } from '../auth/authentication.ts'
import { bodyMs, tooSlow, type HeldBody } from '../http/body-budget.ts'
import { predictors, predictBytes } from '../http/route.ts'
import type { ApiDeps } from '../deps.ts'
import type { PredictionSpan, PredictionTracing } from '../tracing/prediction-spans.ts'
import type { PredictionExchange, SharedExchange } from './exchange.ts'
import { createInfer, headersOfWriter, inferMedia, lengthHeader } from '../inference/handler.ts'
import { defaultModel } from '../inference/default-model.ts'
import { createRowProtocols } from '../inference/row-protocols.ts'
import {
  headersOf,
  problemOf,
  quickRequestId,
  requestIdFrom,
  textOfProblem,
  retryAfterS,
} from '../http/problem.ts'
import { requireNoKey } from '../auth/key-in-body.ts'
import { requireOwnSender } from '../auth/sender.ts'
import { requireMediaType, json } from '../http/content-type.ts'
import { httpRequests } from '../metrics/http-requests.ts'
import type { ByteWriter } from '../serving/codec/byte-writer.ts'
import { idempotencyHeader, deadlineHeader, requestIdHeader } from '../../domain/request-headers.ts'
import type { Target } from './prediction-path.ts'
import { decompressed } from '../http/decompress.ts'

export interface PredictEndpoint {
  /** Accepts a request of Node's server: checks its key, reads its body, then does as `accept`. */
  acceptFromNode(target: Target, request: IncomingMessage, response: ServerResponse): void
  /**
   * Checks the key of a request whose body is not complete, and starts to count its body. Undefined for a request that `acceptFromNode` refuses.
   */
  admit(target: Target, exchange: SharedExchange): Admitted | undefined
  /** Counts a request that was refused before its message was read. */
  countRefusal(target: Target, status: number, code: string): void
  /** Queues a request with its body for its turn of the event loop; `admitted` by `admit`, if it was. */
  accept(target: Target, exchange: SharedExchange, body: Buffer, admitted?: Admitted): void
}

/** A request whose key was checked before its body was read. */
export interface Admitted extends Permitted {
  held: HeldBody
}

export interface EndpointLimits extends BodyLimits {
  /** A request that has waited longer in the queue is refused as overloaded. */
  maxWaitMs: number
}

export const defaultLimits: EndpointLimits = {
  maxWaitMs: 250,
  maxBytes: predictBytes,
  withinMs: bodyMs,
}

/** Limits the deadline that a client can set. */
const maxDeadlineMs = 60_000

/** Returns the name of the route, for metrics and traces. */
const routeOf = ({ protocol, model, version }: Target): string => {
  if (protocol === 'predict') return '/v1/models/:name/predict'
  if (protocol === 'grpc') return '/inference.GRPCInferenceService/ModelInfer'
  if (protocol === 'kserve') return '/v1/models/:name:predict'
  if (protocol === 'mlflow') return model === '' ? '/invocations' : '/v1/models/:name/invocations'
  return version === undefined ? '/v2/models/:name/infer' : '/v2/models/:name/versions/:version/infer'
}

interface EndpointDeps extends Pick<
  ApiDeps,
  'authentication' | 'bodies' | 'serving' | 'log' | 'invocationsModel'
> {
  tracing?: PredictionTracing | undefined
}

export function createPredictEndpoint(
  deps: EndpointDeps,
  refusals: Map<string, number>,
  limits: EndpointLimits = defaultLimits,
): PredictEndpoint {
  const { authentication, bodies, serving, log, tracing } = deps
  const infer = createInfer(serving)
  const protocols = { predict: serving.native, ...createRowProtocols(serving.maxInstances) }
  const queue = createWorkQueue()
  const throttle = createReadThrottle(queue.isIdle, retryAfterS * 1_000)
  const reader = createBodyReader(limits)

  const refuse = createRefusal({ log, tracing }, refusals)
  /** Refuses an overdue request and stops reading from its connection for a while. */
  const refuseLate = (target: Target, exchange: SharedExchange, refusal: DomainError): void => {
    const { socket, shouldKeepAlive } = exchange
    if (shouldKeepAlive && socket !== undefined) exchange.onSent(() => throttle.pause(socket))
    refuse(target, exchange, refusal)
  }
  /** Returns the id of the key, and the model. Throws unless the key may predict with it. */
  const permit = (target: Target, { headers, actor: known }: SharedExchange): Permitted => {
    const actor = known ?? authentication.callerOf(headers.authorization)
    requireRole(actor, predictors)
    const model = target.model === '' ? defaultModel(serving, deps.invocationsModel, actor) : target.model
    requireRole(actor, predictors, model)
    return { keyId: actor.id, model }
  }
  /** Serves a request whose turn has come. */
  const serve = (
    target: Target,
    exchange: SharedExchange,
    body: Buffer,
    { waitedMs, permitted }: Queued,
  ): void => {
    if (exchange.closed) return
    const { protocol, version } = target
    const { caller, headers } = exchange
    const span = tracing?.begin(target, headers, waitedMs)
    try {
      const { keyId, model } = permitted ?? permit(target, exchange)
      const withinMs = remainingMs(headers[deadlineHeader], waitedMs)
      const late = tooLate(waitedMs, withinMs, limits)
      if (late !== undefined) return refuseLate(target, exchange, late)
      const plain = plainBody(target, headers, body, limits)
      const idempotencyKey = headers[idempotencyHeader]
      const request = {
        model,
        version,
        body: plain,
        withinMs,
        idempotencyKey,
        keyId,
        caller,
        sender: exchange,
        span,
      }
      const result =
        protocol === 'infer'
          ? infer(request, headers[lengthHeader])
          : serving.predict(protocol === 'grpc' ? target.messages! : protocols[protocol], request)
      if (result instanceof Promise) sendLater(target, exchange, result, span)
      else {
        send(exchange, result, target)
        if (span !== undefined) tracing!.end(span, 200)
      }
    } catch (error) {
      refuse(target, exchange, error, span)
    }
  }
  const sendLater = (
    target: Target,
    exchange: SharedExchange,
    result: Promise<ByteWriter>,
    span: PredictionSpan | undefined,
  ): void => {
    result.then(
      (writer) => {
        send(exchange, writer, target)
        if (span !== undefined) tracing!.end(span, 200)
      },
      // A client that has disconnected is not counted as refused.
      (error: unknown) => void (exchange.closed || refuse(target, exchange, error, span)),
    )
  }
  const accept = (target: Target, exchange: SharedExchange, body: Buffer, permitted?: Permitted): void => {
    let known = permitted
    // Nothing waits without a valid key.
    const hold = (): (() => void) => {
      known ??= permit(target, exchange)
      const held = bodies.open(known)
      held.add(body.byteLength)
      return held.release
    }
    try {
      queue.enqueue(hold, (waitedMs) => serve(target, exchange, body, { waitedMs, permitted: known }))
    } catch (error) {
      if (isError(error, 'overloaded')) refuseLate(target, exchange, error)
      else refuse(target, exchange, error, tracing?.begin(target, exchange.headers, 0))
    }
  }
  const admit = (target: Target, exchange: SharedExchange): Admitted => {
    const permitted = permit(target, exchange)
    return { ...permitted, held: bodies.open(permitted) }
  }
  return {
    accept,
    countRefusal: (target, status, code) => countRefusal(refusals, target, { status, code }),
    admit(target, exchange) {
      try {
        return admit(target, exchange)
      } catch {
        return undefined
      }
    },
    acceptFromNode(target, request, response) {
      const exchange: PredictionExchange = exchangeOf(request, response)
      let admitted: Admitted
      try {
        // Checked before the body is read, so that an unauthenticated client cannot fill the memory with bodies.
        admitted = admit(target, exchange)
        requireOwnSender((name) => request.headers[name] as string | undefined)
      } catch (error) {
        return refuse(target, exchange, error)
      }
      reader.read(
        request,
        admitted.held,
        (body) => accept(target, exchange, body, admitted),
        (refusal) => {
          exchange.shouldKeepAlive = false
          refuse(target, exchange, refusal)
        },
      )
    },
  }
}

function countRefusal(
  refusals: Map<string, number>,
  target: Target,
  { status, code }: { status: number; code: string },
): void {
  refusals.set(code, (refusals.get(code) ?? 0) + 1)
  httpRequests.of('POST', routeOf(target), status).requests++
}

/** Returns a function that answers a request with the problem that was thrown, and counts it. */
function createRefusal(
  { log, tracing }: Pick<EndpointDeps, 'log' | 'tracing'>,
  refusals: Map<string, number>,
) {
  return (target: Target, exchange: SharedExchange, thrown: unknown, span?: PredictionSpan): void => {
    const { headers, path } = exchange
    const problem = problemOf(thrown, requestIdFrom(headers[requestIdHeader]), (defect, id) =>
      log.error({ requestId: id, err: defect }, 'defect'),
    )
    countRefusal(refusals, target, problem)
    if (span !== undefined) tracing!.end(span, problem.status, problem.code)
    const text = Buffer.from(textOfProblem(problem, path)).toString('latin1')
    exchange.send(problem.status, Object.entries(headersOf(problem, path)).flat(), text)
  }
}

/** Returns the body without its compression. Throws for a body that holds a key or is of another media type. */
function plainBody(
  { protocol }: Target,
  headers: SharedExchange['headers'],
  body: Buffer,
  { maxBytes }: EndpointLimits,
): Buffer {
  const plain = decompressed(body, headers['content-encoding'], maxBytes)
  requireNoKey(plain)
  const type = headers['content-type']
  if (type !== json && type !== undefined)
    requireMediaType(type, protocol === 'infer' ? inferMedia : undefined)
  return plain
}

/** Returns how many more milliseconds the caller waits; undefined without a deadline. */
function remainingMs(deadline: string | undefined, waitedMs: number): number | undefined {
  if (deadline === undefined) return undefined
  const withinMs = Number(deadline)
  if (!(withinMs > 0)) throw new DomainError('invalid_request', `${deadlineHeader} is not a number above 0`)
  return Math.min(withinMs - waitedMs, maxDeadlineMs)
}

function tooLate(
  waitedMs: number,
  leftMs: number | undefined,
  { maxWaitMs }: EndpointLimits,
): DomainError | undefined {
  if (leftMs !== undefined && leftMs < 0)
    return new DomainError('deadline_exceeded', `the request has waited for ${Math.round(waitedMs)} ms`)
  if (waitedMs <= maxWaitMs) return undefined
  return new DomainError('overloaded', `requests wait for more than ${maxWaitMs} ms`)
}

interface Permitted {
  keyId: string
  model: string
}

interface Queued {
  waitedMs: number
  /** Present if the key was checked before the body was read. */
  permitted: Permitted | undefined
}

const jsonHeaders = ['content-type', 'application/json']

/** Sends a text in which each character is one byte, so that head and body leave in one write without further encoding. */
function send(exchange: SharedExchange, writer: ByteWriter, target: Target): void {
  target.answered ??= httpRequests.of('POST', routeOf(target), 200)
  target.answered.requests++
  const requestId = quickRequestId(exchange.headers[requestIdHeader])
  if (exchange.sendBytes !== undefined)
    return exchange.sendBytes(writer.bytes.subarray(0, writer.at), requestId)
  const headers =
    writer.jsonBytes === undefined ? jsonHeaders : Object.entries(headersOfWriter(writer)).flat()
  exchange.send(200, headers, writer.bytes.toString('latin1', 0, writer.at), requestId)
}

// Reads the body of a request from Node's HTTP server. Limits its bytes and its time, and counts it while it is incomplete.

export interface BodyReader {
  /** Calls back once, with the body or the error; never when the client disconnects first. */
  read(
    request: IncomingMessage,
    held: HeldBody,
    onBody: (body: Buffer) => void,
    onRefusal: (refusal: DomainError) => void,
  ): void
}

interface BodyLimits {
  maxBytes: number
  /** The time limit of a body, in milliseconds. */
  withinMs: number
}

export function createBodyReader({ maxBytes, withinMs }: BodyLimits): BodyReader {
  return {
    read(request, held, onBody, onRefusal) {
      const totalBytes = Number(request.headers['content-length'])
      if (totalBytes > maxBytes) return onRefusal(tooLarge(maxBytes))
      let pieces: Buffer[] = []
      let bytes = 0
      let heldBytes = 0
      let over = false
      const release = (): void => {
        clearTimeout(late)
        held.release()
      }
      const refuse = (refusal: DomainError): void => {
        // The rest is read and discarded: closing the connection within a body would hide the response.
        over = true
        pieces = []
        release()
        onRefusal(refusal)
      }
      const late = setTimeout(() => refuse(tooSlow()), withinMs)
      request.on('close', release)
      request.on('data', (chunk: Buffer) => {
        if (over) return
        bytes += chunk.byteLength
        if (bytes > maxBytes) return refuse(tooLarge(maxBytes))
        pieces.push(chunk)
        // Most bodies arrive in one chunk; they are served in the same turn and are not counted.
        if (heldBytes === 0 && bytes === totalBytes) return
        try {
          held.add(bytes - heldBytes)
        } catch (error) {
          return refuse(error as DomainError)
        }
        heldBytes = bytes
      })
      request.on('end', () => {
        if (over) return
        release()
        onBody(pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces, bytes))
      })
    },
  }
}

const tooLarge = (limit: number): DomainError =>
  new DomainError('body_too_large', `the body has more than ${limit} bytes`, { limit })
