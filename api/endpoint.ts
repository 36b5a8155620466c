/**
 * Predictions on the bare HTTP server. Everything else goes through the application; these routes are asked a thousand times
 * as often, and the framework's request and response objects would cost them more than the prediction.
 */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { DomainError } from '../domain/errors.ts'
import { expectAllowed } from './auth.ts'
import { callers, predictBytes } from './declare.ts'
import type { ApiDeps } from './deps.ts'
import { createInfer, headersOfInk, lengthHeader } from './inference/exchange.ts'
import { headersOf, problemOf, textOfProblem } from './problem.ts'
import type { Ink } from './serving/ink.ts'
import type { Target } from './target.ts'

export type PredictEndpoint = (target: Target, request: IncomingMessage, response: ServerResponse) => void

export function createPredictEndpoint(
  deps: Pick<ApiDeps, 'authentication' | 'serving' | 'log'>,
  refusals: Map<string, number>,
): PredictEndpoint {
  const { authentication, serving, log } = deps
  const infer = createInfer(serving)

  const refuse = (request: IncomingMessage, response: ServerResponse, thrown: unknown): void => {
    const sent = request.headers['x-request-id']
    const requestId = typeof sent === 'string' && /^[\w.:-]{1,100}$/.test(sent) ? sent : randomUUID()
    const problem = problemOf(thrown, requestId, (defect, id) =>
      log.error({ requestId: id, err: defect }, 'defect'),
    )
    refusals.set(problem.code, (refusals.get(problem.code) ?? 0) + 1)
    const path = request.url ?? ''
    const text = Buffer.from(textOfProblem(problem, path))
    response.writeHead(problem.status, { ...headersOf(problem, path), 'content-length': text.byteLength })
    response.end(text)
  }
  const answer = (target: Target, request: IncomingMessage, response: ServerResponse, body: Buffer): void => {
    const { model, version } = target
    try {
      expectAllowed(authentication.callerOf(request.headers.authorization), callers, model)
      const ink =
        target.protocol === 'predict'
          ? serving.answer(serving.native, { model, body })
          : infer({ model, version, body }, request.headers[lengthHeader] as string | undefined)
      send(response, ink)
    } catch (error) {
      refuse(request, response, error)
    }
  }
  return (target, request, response) => {
    let first: Buffer | undefined
    let more: Buffer[] | undefined
    let bytes = 0
    let over = false
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.byteLength
      if (bytes > predictBytes) {
        if (over) return
        over = true
        first = more = undefined
        // The rest is read and forgotten, so that the answer arrives; a connection cut off in the middle hides it.
        response.shouldKeepAlive = false
        refuse(request, response, tooLarge())
      } else if (first === undefined) first = chunk
      else (more ??= [first]).push(chunk)
    })
    request.on('end', () => {
      if (over) return
      const body = more === undefined ? (first ?? Buffer.alloc(0)) : Buffer.concat(more)
      answer(target, request, response, body)
    })
  }
}

/** The last is filled in for each answer; the server reads them before it returns. */
const jsonHeaders = ['content-type', 'application/json', 'content-length', '']

/** A text of which each character is one byte goes out with its headers in one piece, without being encoded again. */
function send(response: ServerResponse, ink: Ink): void {
  if (ink.jsonBytes === undefined) {
    jsonHeaders[3] = String(ink.at)
    response.writeHead(200, jsonHeaders)
  } else response.writeHead(200, { ...headersOfInk(ink), 'content-length': ink.at })
  response.end(ink.bytes.toString('latin1', 0, ink.at), 'latin1')
}

const tooLarge = (): DomainError =>
  new DomainError('body_too_large', `the body has more than ${predictBytes} bytes`, { limit: predictBytes })
