/**
 * Answers browsers that call the API from pages of other origins (CORS). Off unless origins are configured. Cookies are never allowed: such
 * a page sends a key, which a browser never sends without being asked.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'

/** Sets the CORS headers of a response. Responds to preflight requests itself, and returns true for them. */
export type CrossOrigin = (request: IncomingMessage, response: ServerResponse) => boolean

const preflightHeaders = {
  'access-control-allow-methods': 'GET, POST, PUT, DELETE',
  'access-control-allow-headers':
    'authorization, content-encoding, content-type, idempotency-key, inference-header-content-length, x-deadline-ms, x-request-id',
  'access-control-max-age': '600',
  'content-length': '0',
  'x-content-type-options': 'nosniff',
}
const exposed = 'inference-header-content-length, location, retry-after, x-request-id'

/** Creates the handler for `origins` such as `https://app.example.com`. */
export function createCrossOrigin(origins: readonly string[]): CrossOrigin {
  const allowed = new Set(origins)
  return ({ method, headers }, response) => {
    if (allowed.size === 0) return false
    response.appendHeader('vary', 'Origin')
    const { origin } = headers
    if (origin === undefined || !allowed.has(origin)) return false
    response.setHeader('access-control-allow-origin', origin)
    response.setHeader('access-control-expose-headers', exposed)
    if (method !== 'OPTIONS' || headers['access-control-request-method'] === undefined) return false
    response.writeHead(204, preflightHeaders)
    response.end()
    return true
  }
}
