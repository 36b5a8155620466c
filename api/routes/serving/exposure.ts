/** `GET /v1/models/:name/exposure/:version`: says whether a version may serve now, for the health checks of gateways. */
import { DomainError } from '../../../domain/errors.ts'
import * as schema from '../../../domain/schema.ts'
import { defineRoute, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { liveOf } from '../../serving/request/choose-arm.ts'
import { sharesOf } from '../../serving/routing/route-table.ts'

export const exposureRoutes = ({ serving }: ApiDeps): RouteDefinition[] => [
  defineRoute('get', '/v1/models/:name/exposure/:version', 'callers', {
    summary:
      'Check that a version may serve by the leases of this replica. The health check of its server in a gateway asks this, so that the gateway drops a candidate when nothing answers here. While this replica has a lease, `proven` names the version that serves without one.',
    answers: { 200: 'It may serve', 404: 'It may not' },
    answerSchema: schema.record({ model: schema.text, version: schema.text }, { proven: schema.text }),
    handle({ params }) {
      const model = params['name']!
      const version = params['version']!
      const live = liveOf(serving.routing, model)
      const arms = sharesOf(serving.routing.tableOf(live, serving.now()))
      if (live.route.proven !== version && !arms.some((arm) => arm.version === version && arm.shareBp > 0))
        throw new DomainError('not_found', `${version} may not serve now`)
      // Without a lease, another version may have passed its probation meanwhile.
      const { proven } = live.route
      return { json: { model, version, ...(serving.now() < serving.lease.until && { proven }) } }
    },
  }),
]
