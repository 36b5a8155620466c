/** Builds the request listener of every route except predictions. */
import { getRequestListener } from '@hono/node-server'
import type { RequestListener } from 'node:http'
import { createApp } from './app.ts'
import type { RouteDefinition } from './http/route.ts'
import type { ApiDeps } from './deps.ts'
import { createMetrics } from './metrics/registry.ts'

export interface ApplicationOptions extends Omit<ApiDeps, 'metrics'> {
  /** Refused predictions by problem code, counted by the predict endpoint. */
  refusals: ReadonlyMap<string, number>
}

export function createApplication({ refusals, ...deps }: ApplicationOptions): {
  listener: RequestListener
  routes: readonly RouteDefinition[]
} {
  const { app, routes } = createApp({ ...deps, metrics: createMetrics(deps.serving, refusals) })
  // The first request builds the router and compiles the handlers, so send it before a caller waits.
  void app.request('/livez')
  const listener = getRequestListener(app.fetch, {
    overrideGlobalObjects: false,
    // HTTP/1.0 needs no `Host`, and the health checks of load balancers send none.
    hostname: 'localhost',
  })
  return { listener: (request, response) => void listener(request, response), routes }
}
