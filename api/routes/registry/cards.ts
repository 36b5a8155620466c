/** `/v1/versions/:version/card`: shows the model card of a version. */
import { z } from 'zod'
import { cardMarkdown } from '../../../domain/registry/model-card-markdown.ts'
import * as schema from '../../../domain/schema.ts'
import { getVersion } from '../../../store/registry/versions.ts'
import { readCard } from '../../services/model-card.ts'
import { defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'

export const cardRoutes = ({ store }: ApiDeps): RouteDefinition[] => [
  defineRoute('get', '/v1/versions/:version/card', viewers, {
    summary:
      'Get the model card of a version: purpose, owner, inputs, quality, cost and limitations. JSON, or Markdown with format=markdown.',
    answers: { 200: 'The model card' },
    answerSchema: schema.record({ format: schema.text, version: schema.text, model: schema.text }),
    answerMedia: 'text/markdown',
    query: z.strictObject({ format: z.enum(['json', 'markdown']).default('json') }),
    async handle({ params, query }) {
      const id = params['version']!
      const version = await getVersion(store, id)
      const { card } = await readCard(store, version)
      return query.format === 'json'
        ? { json: card }
        : { text: cardMarkdown(card), type: 'text/markdown; charset=utf-8' }
    },
  }),
]
