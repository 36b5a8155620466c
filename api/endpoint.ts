/**
 * The predict route on the bare HTTP server. Everything else goes through the application; this one route is asked a thousand
 * times as often, and the framework's request and response objects would cost it more than the prediction.
 */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { DomainError } from '../domain/errors.ts'
import { expectAllowed } from './auth.ts'
import { callers, predictBytes } from './declare.ts'
import type { ApiDeps } from './deps.ts'
import { headersOf, problemOf } from './problem.ts'

const prefix = '/v1/models/'
const suffix = '/predict'

/** The model that the request asks to predict with; nothing when it is another request. */
export function modelAskedIn(request: IncomingMessage): string | undefined {
  const { url } = request
  if (request.method !== 'POST' || url === undefined) return undefined
  if (!url.startsWith(prefix) || !url.endsWith(suffix)) return undefined
  const name = url.slice(prefix.length, -suffix.length)
  if (name.includes('/') || name.includes('?')) return undefined
  return name.includes('%') ? decoded(name) : name
}

export type PredictEndpoint = (model: string, request: IncomingMessage, response: ServerResponse) => void

export function createPredictEndpoint(
  deps: Pick<ApiDeps, 'authentication' | 'serving' | 'log'>,
  refusals: Map<string, number>,
): PredictEndpoint {
  const { authentication, serving, log } = deps

  const refuse = (request: IncomingMessage, response: ServerResponse, thrown: unknown): void => {
    const sent = request.headers['x-request-id']
    const requestId = typeof sent === 'string' && /^[\w.:-]{1,100}$/.test(sent) ? sent : randomUUID()
    const problem = problemOf(thrown, requestId, (defect, id) =>
      log.error({ requestId: id, err: defect }, 'defect'),
    )
    refusals.set(problem.code, (refusals.get(problem.code) ?? 0) + 1)
    const text = Buffer.from(JSON.stringify(problem))
    response.writeHead(problem.status, { ...headersOf(problem), 'content-length': text.byteLength })
    response.end(text)
  }
  const answer = (model: string, request: IncomingMessage, response: ServerResponse, body: Buffer): void => {
    try {
      expectAllowed(authentication.callerOf(request.headers.authorization), callers, model)
      const text = Buffer.from(serving.predict(model, body))
      response.writeHead(200, ['content-type', 'application/json', 'content-length', String(text.byteLength)])
      response.end(text)
    } catch (error) {
      refuse(request, response, error)
    }
  }
  return (model, request, response) => {
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
      answer(model, request, response, body)
    })
  }
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}

const tooLarge = (): DomainError =>
  new DomainError('body_too_large', `the body has more than ${predictBytes} bytes`, { limit: predictBytes })
