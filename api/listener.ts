/** Builds the request listener of every route except predictions. */
import type { OutageWatch } from '../activities/alerts/delivery/outage-watch.ts'
import { getRequestListener, RequestError } from '@hono/node-server'
import type { RequestListener } from 'node:http'
import type { Registry } from 'prom-client'
import { DomainError } from '../domain/errors.ts'
import { createApp } from './app.ts'
import { headersOf, problemOf, requestIdFrom, textOfProblem } from './http/problem.ts'
import type { RouteDefinition } from './http/route.ts'
import type { ApiDeps, ApiLog } from './deps.ts'
import type { FoundBackups } from '../store/maintenance/backup-state.ts'
import type { Exemplars } from './metrics/exemplars.ts'
import { createMetrics, type BuildInfo } from './metrics/registry.ts'

export interface ApplicationOptions extends Omit<ApiDeps, 'metrics'> {
  /** The number of refused predictions by problem code, counted by the predict endpoint. */
  refusals: ReadonlyMap<string, number>
  build?: BuildInfo
  /** Returns the state of the scheduled backups. */
  backups?: () => FoundBackups | undefined
  symptoms?: OutageWatch['seen']
  exemplars?: Exemplars | undefined
}

export function createApplication({
  refusals,
  build,
  backups,
  symptoms,
  exemplars,
  ...deps
}: ApplicationOptions): {
  listener: RequestListener
  routes: readonly RouteDefinition[]
  metrics: Registry
} {
  const metrics = createMetrics(deps.serving, refusals, { build, backups, symptoms, exemplars })
  const { app, routes } = createApp({ ...deps, metrics })
  // The first request builds the router and compiles the handlers. Send one now, so that no caller waits for it.
  void app.request('/livez')
  const listener = getRequestListener(app.fetch, {
    overrideGlobalObjects: false,
    // HTTP/1.0 needs no `Host`, and the health checks of load balancers send none.
    hostname: 'localhost',
    errorHandler: (error) => refusalOf(error, deps.log),
  })
  return { listener: (request, response) => void listener(request, response), routes, metrics }
}

/** Responds to requests that cannot be translated for the application, such as those with a backslash in their path. */
function refusalOf(error: unknown, log: ApiLog): Response {
  const refusal =
    error instanceof RequestError
      ? new DomainError('malformed_request', `the request is not valid HTTP: ${error.message}`)
      : error
  const problem = problemOf(refusal, requestIdFrom(undefined), (err, requestId) =>
    log.error({ requestId, err }, 'defect'),
  )
  return new Response(textOfProblem(problem, ''), { status: problem.status, headers: headersOf(problem, '') })
}
