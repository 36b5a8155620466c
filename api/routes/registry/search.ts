/** `/v1/search`: finds models, versions, releases, runs and audit entries by words. */
import { z } from 'zod'
import * as schema from '../../../domain/schema.ts'
import { defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { toWire } from '../../http/schemas.ts'
import { maxSearchLength, searchEverything, searchResult } from '../../services/search.ts'

const maxOfAKind = 20

export const searchRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('get', '/v1/search', viewers, {
    summary:
      'Search models, versions, releases, retrainings, sweeps and the newest 20,000 audit entries. A result contains every word of `q`; `path` is its page.',
    answers: { 200: 'The results, names that begin with the first word first' },
    answerSchema: schema.record({ results: schema.list(searchResult) }),
    query: z.strictObject({
      q: z.string().trim().min(1).max(maxSearchLength),
      limit: z.coerce.number().int().min(1).max(maxOfAKind).default(5).describe('Results of each kind'),
    }),
    async handle({ query: { q, limit } }) {
      const found = await searchEverything(deps, { text: q, limit })
      return { json: { results: found.map(toWire) } }
    },
  }),
]
