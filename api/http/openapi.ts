/** Generates an OpenAPI 3.1 document from the declared routes. */
import { z } from 'zod'
import { errorTable } from '../../domain/errors.ts'
import type { RouteDefinition } from './route.ts'

export function describe(routes: readonly RouteDefinition[]): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {}
  // Dashboard pages are not part of the API.
  for (const route of routes.filter(({ page }) => page !== true)) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [route.method]: operationOf(route) }
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Tenure', version: '1', description: 'Retraining, release and serving of models.' },
    paths,
    security: [{ key: [] }],
    components: {
      securitySchemes: { key: { type: 'http', scheme: 'bearer' } },
      schemas: { Problem: problemSchema, Error: errorSchema },
    },
  }
}

function operationOf(route: RouteDefinition) {
  const { method, path, allow, summary, answers, body, query, rawBytes, rawSchema, streaming } = route
  const { contentTypes = ['application/json'], answerSchema, headers = {} } = route
  const names = [...path.matchAll(/:(\w+)/g)].map(([, name]) => name)
  const takesBody = body !== undefined || rawBytes !== undefined || streaming === true
  return {
    summary,
    operationId: `${method} ${path}`.replaceAll(/[^a-z0-9]+/gi, '_').replace(/_$/, ''),
    security: allow === 'public' ? [] : undefined,
    description: typeof allow === 'string' ? undefined : `Roles: ${allow.join(', ')}.`,
    parameters: [
      ...names.map((name) => ({ name, in: 'path', required: true, schema: { type: 'string' } })),
      ...queryParameters(query),
      ...Object.entries(headers).map(([header, description]) => ({
        name: header,
        in: 'header',
        description,
        schema: { type: 'string' },
      })),
    ],
    requestBody: takesBody
      ? {
          required: rawBytes !== undefined,
          content: Object.fromEntries(
            contentTypes.map((media) => [
              media,
              media === 'application/json' ? { schema: body ? schemaOf(body) : rawSchema } : {},
            ]),
          ),
        }
      : undefined,
    responses: {
      ...Object.fromEntries(
        Object.entries(answers).map(([status, description]) => [
          status,
          status === '200' && answerSchema !== undefined
            ? answerOf(description, 'application/json', answerSchema)
            : { description },
        ]),
      ),
      default: path.startsWith('/v2')
        ? answerOf('An error', 'application/json', { $ref: '#/components/schemas/Error' })
        : answerOf('A problem', 'application/problem+json', { $ref: '#/components/schemas/Problem' }),
    },
  }
}

const answerOf = (description: string, media: string, schema: object) => ({
  description,
  content: { [media]: { schema } },
})

function queryParameters(query: z.ZodType | undefined) {
  if (query === undefined) return []
  const { properties = {}, required = [] } = schemaOf(query) as {
    properties?: Record<string, unknown>
    required?: string[]
  }
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    schema,
    required: required.includes(name),
  }))
}

const schemaOf = (schema: z.ZodType): Record<string, unknown> => {
  const { $schema: _$schema, ...described } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
  return described
}

const errorSchema = { type: 'object', required: ['error'], properties: { error: { type: 'string' } } }

const problemSchema = {
  type: 'object',
  required: ['type', 'title', 'status', 'detail', 'code', 'remedy', 'retryable', 'request_id'],
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    code: { enum: Object.keys(errorTable) },
    remedy: { type: 'string' },
    retryable: { type: 'boolean' },
    request_id: { type: 'string' },
  },
}
