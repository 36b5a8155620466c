/** Generates an OpenAPI 3.1 document from the declared routes. */
import { z } from 'zod'
import { errorTable } from '../../domain/errors.ts'
import { mayRepeat } from './idempotency.ts'
import { idempotencyHeader, requestIdHeader } from '../../domain/request-headers.ts'
import { errorShapeOf, problemType, requestIdPattern, type ErrorShape } from './problem.ts'
import { pathTemplate, type HeaderSpec, type RouteDefinition } from './route.ts'

const wholeApi = {
  title: 'Tenure',
  version: '1',
  description: 'Retraining, release and serving of models.',
}

export function describe(
  routes: readonly RouteDefinition[],
  info: { title: string; version: string; description: string } = wholeApi,
): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {}
  // Dashboard pages and their files are not part of the API.
  for (const route of routes.filter(({ page, internal }) => page !== true && internal !== true)) {
    const path = pathTemplate(route.path)
    paths[path] = { ...paths[path], [route.method]: operationOf(route) }
  }
  return {
    openapi: '3.1.0',
    info,
    paths,
    security: [{ key: [] }],
    components: {
      securitySchemes: { key: { type: 'http', scheme: 'bearer' } },
      schemas: Object.fromEntries(Object.values(errorSchemas).map(({ name, schema }) => [name, schema])),
    },
  }
}

function operationOf(route: RouteDefinition) {
  const { method, path, allow, summary, answers, query, headers = {} } = route
  const names = [...path.matchAll(/\/:(\w+)/g)].map(([, name]) => name)
  const sent = { ...headers, ...(mayRepeat(route) ? commandHeaders : {}), ...everyHeader }
  return {
    summary,
    operationId: `${method} ${path.replace(/(\w):/, '$1 colon ')}`
      .replaceAll(/[^a-z0-9]+/gi, '_')
      .replace(/_$/, ''),
    security: allow === 'public' ? [] : undefined,
    description: typeof allow === 'string' ? undefined : `Roles: ${allow.join(', ')}.`,
    parameters: [
      ...names.map((name) => ({
        name,
        in: 'path',
        required: true,
        schema: { type: 'string', minLength: 1 },
      })),
      ...queryParameters(query),
      ...Object.entries(sent).map(([name, described]) => ({ name, in: 'header', ...described })),
    ],
    requestBody: requestBodyOf(route),
    responses: {
      ...Object.fromEntries(
        statusesOfErrors(route).map((status) => [
          status,
          errorResponse(path, answers[status] ?? errorText(status)),
        ]),
      ),
      ...Object.fromEntries(
        Object.entries(answers)
          .filter(([status]) => Number(status) < 400)
          .map(([status, description]) => [status, successOf(route, status, description)]),
      ),
    },
  }
}

/** Request headers of every operation. */
const everyHeader: Readonly<Record<string, HeaderSpec>> = {
  [requestIdHeader]: {
    description:
      'The id of the request, repeated in its response and in the logs. An invalid id is replaced by a new one.',
    // Has no pattern, because every text is accepted.
    schema: { type: 'string', examples: ['order-17'] },
  },
}

/** Request headers of commands: `executeIdempotent` reads them where `mayRepeat` returns true. */
const commandHeaders: Readonly<Record<string, HeaderSpec>> = {
  [idempotencyHeader]: {
    description: 'A request repeated with the same key gets the first response, and the command runs once.',
    schema: { type: 'string', pattern: '^[\\x21-\\x7e]{1,150}$' },
  },
}

function requestBodyOf({
  body,
  rawBytes,
  rawSchema,
  streaming,
  contentTypes = ['application/json'],
}: RouteDefinition) {
  if (body === undefined && rawBytes === undefined && streaming !== true) return undefined
  const schema = body === undefined ? rawSchema : schemaOf(body)
  return {
    // The body is optional when the command accepts an empty object.
    required: body === undefined || !body.safeParse({}).success,
    content: Object.fromEntries(
      contentTypes.map((media) => [
        media,
        {
          schema:
            media === 'application/json' || media === 'multipart/form-data'
              ? (schema ?? {})
              : isText(media)
                ? text
                : { ...text, format: 'binary' },
        },
      ]),
    ),
  }
}

const text = { type: 'string' }
const isText = (media: string): boolean => /^text\/|json/.test(media)

/** Returns the statuses of `errorTable` that this route can have. */
function statusesOfErrors(route: RouteDefinition): number[] {
  const { method, path, allow, query, body, rawBytes, streaming, answers } = route
  const isRead = method === 'get'
  const isHealth = allow === 'public' && query === undefined && isRead
  const takesBody = body !== undefined || rawBytes !== undefined || streaming === true
  const takesInput = takesBody || query !== undefined || path.includes(':')
  const declared = Object.keys(answers).map(Number)
  const found = [
    ...declared.filter((status) => status >= 400),
    // Escapes of every path and query are checked.
    400,
    ...(takesInput ? [404] : []),
    ...(allow === 'public' ? [] : [401, 429]),
    // A request of another site's page without a key is rejected.
    ...(allow === 'public' && isRead ? [] : [403]),
    ...(takesBody ? [422] : []),
    // A body is read and checked also where a command takes none.
    ...(isRead ? [] : [409, 413, 415, 504]),
    421,
    ...(isHealth && !path.includes('ready') ? [] : [500, 503]),
  ]
  return [...new Set(found)].sort((one, other) => one - other)
}

const errorText = (status: number): string =>
  `A problem: ${Object.entries(errorTable)
    .flatMap(([code, facts]) => (facts.status === status ? [code] : []))
    .join(', ')}`

function errorResponse(path: string, description: string) {
  const shape = errorShapeOf(path)
  const media = shape === 'problem' ? problemType : 'application/json'
  return answerOf(description, media, { $ref: `#/components/schemas/${errorSchemas[shape].name}` })
}

const answerOf = (description: string, media: string, schema: object) => ({
  description,
  headers: answerHeaders,
  content: { [media]: { schema } },
})

const answerHeaders = {
  [requestIdHeader]: {
    description: 'The id of the request: the one that was sent, or a new one.',
    schema: { type: 'string', pattern: requestIdPattern.source },
  },
}

function successOf(
  { answerSchema, deferredSchema, answerMedia }: RouteDefinition,
  status: string,
  description: string,
) {
  const json = status === '202' ? (deferredSchema ?? answerSchema) : answerSchema
  const content = {
    ...(json && { 'application/json': { schema: json } }),
    ...(answerMedia && { [answerMedia]: { schema: text } }),
  }
  if (Object.keys(content).length === 0) return { description, headers: answerHeaders }
  return { description, headers: answerHeaders, content }
}

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

const errorCode = { type: 'string', enum: Object.keys(errorTable) }

const errorSchemas: Record<ErrorShape, { name: string; schema: object }> = {
  problem: { name: 'Problem', schema: problemSchema },
  inference: {
    name: 'Error',
    schema: {
      type: 'object',
      required: ['error', 'code'],
      properties: { error: { type: 'string' }, code: errorCode },
    },
  },
  mlflow: {
    name: 'MlflowError',
    schema: {
      type: 'object',
      required: ['error_code', 'message', 'code'],
      properties: { error_code: { type: 'string' }, message: { type: 'string' }, code: errorCode },
    },
  },
}
