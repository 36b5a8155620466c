/**
 * Answers that the process lives and is ready while the rest of the application is still being loaded. Predictions are answered
 * by then, and whoever waits to send some should not wait for the routes of people. What is not a plain yes waits for the
 * application, which says why.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Actor } from '../auth/authentication.ts'
import { alive, readyState, whyNotReady, type HealthDeps } from '../routes/health.ts'

/** Whether it has answered. */
export type EarlyHealth = (request: IncomingMessage, response: ServerResponse) => boolean

export function createEarlyHealth(deps: HealthDeps): EarlyHealth {
  const actorOf = (authorization: string | undefined): Actor | undefined => {
    try {
      return authorization === undefined ? undefined : deps.authentication.actorOf(authorization)
    } catch {
      // Everybody may know whether it is ready.
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
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
    response.end(text)
    return true
  }
}
