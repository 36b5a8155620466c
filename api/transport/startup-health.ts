/**
 * Serves `/livez` and a positive `/readyz` while the application is still loading, because predictions are already served. Every other
 * response waits for the application, which reports the reason.
 */
import { requestIdHeader } from '../../domain/request-headers.ts'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Actor } from '../auth/authentication.ts'
import { requestIdFrom } from '../http/problem.ts'
import { alive, readyState, whyNotReady, type HealthDeps } from '../routes/health.ts'

/** Returns whether it has sent a response. */
export type StartupHealth = (request: IncomingMessage, response: ServerResponse) => boolean

export function createStartupHealth(deps: HealthDeps): StartupHealth {
  const actorOf = (authorization: string | undefined): Actor | undefined => {
    try {
      return authorization === undefined ? undefined : deps.authentication.actorOf(authorization)
    } catch {
      // Readiness is public, so an invalid key gets the state without details.
      return undefined
    }
  }
  const stateAt = (path: string | undefined, authorization: string | undefined): object | undefined => {
    if (path === '/livez') return alive
    if (path !== '/readyz' || whyNotReady(deps).length > 0) return undefined
    return readyState(deps, actorOf(authorization))
  }
  return ({ method, url, headers }, response) => {
    const state = method === 'GET' ? stateAt(url, headers.authorization) : undefined
    if (state === undefined) return false
    const text = JSON.stringify(state)
    response.writeHead(200, {
      'content-type': 'application/json',
      'x-content-type-options': 'nosniff',
      'content-length': Buffer.byteLength(text),
      [requestIdHeader]: requestIdFrom(headers[requestIdHeader]),
    })
    response.end(text)
    return true
  }
}
