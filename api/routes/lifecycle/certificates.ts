/** `/v1/releases/:id/certificate`: the signed certificate of an ended release. */
import * as schema from '../../../domain/schema.ts'
import { certifyRelease } from '../../services/release-certificate.ts'
import { defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'

export const certificateRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('get', '/v1/releases/:id/certificate', viewers, {
    summary:
      'Get the signed certificate of an ended release: its digests, policy, approvals and events, and each verdict with the counts that it follows from.',
    answers: { 200: 'The certificate, which `@tenure/certificate` verifies offline' },
    answerSchema: schema.record({ statement: schema.data, envelope: schema.data }),
    async handle({ params }) {
      return { json: await certifyRelease(deps, params['id']!) }
    },
  }),
]
