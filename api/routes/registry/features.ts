/** `/v1/features`: lists feature views and their values, and starts an ingestion. */
import { z } from 'zod'
import { DomainError } from '../../../domain/errors.ts'
import { keyOfText } from '../../../domain/values/names.ts'
import * as schema from '../../../domain/schema.ts'
import {
  listValues,
  countValues,
  isUsed,
  listViews,
  viewRow,
  type StoredView,
} from '../../../store/features/feature-views.ts'
import { operators, defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { limit, pastTime, pastTimeInUtc, toWire } from '../../http/schemas.ts'
import { startIngestion } from '../../services/ingest-view.ts'

const view = schema.extend(
  viewRow,
  { entity: schema.list(schema.text), values: schema.map(schema.text), source: schema.data },
  { about: schema.text, everyMs: schema.number, lateMs: schema.number, keepMs: schema.number },
)

export const featureRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('get', '/v1/features', viewers, {
    summary:
      'List feature views with the models and versions that use them, and the progress of their ingestion.',
    answers: { 200: 'The feature views' },
    answerSchema: schema.record({ features: schema.list(view) }),
    query: z.strictObject({ limit }),
    async handle({ query }) {
      const found = await listViews(deps.store, query)
      return { json: { features: found.map(shown) } }
    },
  }),
  defineRoute('get', '/v1/features/:name', viewers, {
    summary: 'Show the definitions of a feature view, newest first.',
    answers: { 200: 'The feature view' },
    answerSchema: schema.record({
      name: schema.text,
      definitions: schema.list(schema.extend(view, { entities: schema.count }, { newest: schema.time })),
    }),
    async handle({ params }) {
      const found = await viewsOf(deps, params['name']!)
      const counted = await Promise.all(
        found.map(async (each) => ({ ...shown(each), ...(await countValues(deps.store, each.id)) })),
      )
      return { json: { name: found[0]!.name, definitions: counted } }
    },
  }),
  defineRoute('get', '/v1/features/:name/values', viewers, {
    summary:
      'List the values of an entity as known at `at`, for each definition in use: the valid value first, then earlier ones. Join several entity columns as "a / b".',
    answers: { 200: 'The values' },
    answerSchema: schema.record({
      view: schema.text,
      entity: schema.text,
      at: schema.time,
      values: schema.list(schema.data),
    }),
    query: z.strictObject({
      entity: z.string().min(1).max(256),
      at: pastTime(deps.serving.wall).optional(),
      limit: limit.default(10),
    }),
    async handle({ params, query }) {
      const found = await viewsOf(deps, params['name']!)
      const used = found.filter(isUsed)
      const { entity, limit, at = new Date(deps.serving.wall()).toISOString() } = query
      const key = { entity: keyOfText(entity), at, limit }
      const values: object[] = []
      for (const { id: viewId, digest } of used.length > 0 ? used : found.slice(0, 1))
        for (const each of await listValues(deps.store, { viewId, ...key }))
          values.push({ digest, ...toWire(each) })
      return { json: { view: found[0]!.name, entity, at, values } }
    },
  }),
  defineRoute('post', '/v1/features/:name/materialise', operators, {
    summary:
      'Ingest new values of a feature view, and everything since `from` again. Returns the running ingestion when there is one.',
    answers: { 202: 'The ingestion has started, or is running' },
    answerSchema: schema.record({ view: schema.text, workflowId: schema.text, begun: schema.flag }),
    body: z.strictObject({ from: pastTimeInUtc(deps.serving.wall).optional() }),
    async handle({ actor, commandId: id, params, body }) {
      const found = await viewsOf(deps, params['name']!)
      const view = found[0]!.name
      if (!found.some(isUsed))
        throw new DomainError('not_found', `no model uses the feature view ${view}, so it is not ingested`)
      return { status: 202, json: toWire(await startIngestion(deps, actor!, { view, ...body }, { id })) }
    },
  }),
]

async function viewsOf(deps: ApiDeps, name: string): Promise<StoredView[]> {
  const found = await listViews(deps.store, { name })
  if (found.length === 0)
    throw new DomainError('not_found', `there is no feature view ${JSON.stringify(name.slice(0, 80))}`)
  return found
}

const shown = (view: StoredView): Record<string, unknown> => {
  const { id: _id, definition, problem, ...stored } = view
  const { name, digest, ...rest } = { ...stored, problem: isUsed(view) ? problem : undefined }
  const { source, digest: _digest, name: _name, ...fields } = definition
  return { name, digest, ...toWire(rest), ...toWire(fields), source }
}
