/** Tests that the OpenAPI document is complete enough for client generators. No handler runs, so the routes need no servers. */
import { expect, it } from 'vitest'
import type { ApiDeps } from '../../../api/deps.ts'
import { describe } from '../../../api/http/openapi.ts'
import { pathTemplate } from '../../../api/http/route.ts'
import { routesOf } from '../../../api/routes/all-routes.ts'

interface Response {
  headers?: object
  content?: object
}

interface Operation {
  operationId: string
  responses: object
  requestBody?: { required: boolean }
  parameters: { name: string; in: string; schema: object }[]
}

/**
 * Schemas that client generators cannot use: arrays without items, media types without a schema, objects that allow nothing, constants,
 * several types in a list.
 */
function issuesOfSchemas(value: unknown, place = ''): string[] {
  if (typeof value !== 'object' || value === null) return []
  const own = value as Record<string, unknown>
  const types = [own['type']].flat()
  const issues = [
    types.includes('array') && !('items' in own) && !('prefixItems' in own) && 'is an array without items',
    types.includes('object') &&
      !('properties' in own) &&
      own['additionalProperties'] === undefined &&
      'is an object without properties',
    /\/content\/[^/]+\/[^/]+$/.test(place) && own['schema'] === undefined && 'has no schema',
    own['const'] === true && 'is a constant',
    types.filter((type) => type !== undefined && type !== 'null').length > 1 && 'has several types in a list',
  ].filter((issue) => issue !== false)
  return [
    ...issues.map((issue) => `${place} ${issue}`),
    ...Object.entries(own).flatMap(([name, each]) => issuesOfSchemas(each, `${place}/${name}`)),
  ]
}

const nothing: unknown = new Proxy(() => {}, {
  get: (_target, name) => (name === Symbol.toPrimitive ? () => '' : nothing),
  apply: () => nothing,
})
const routes = routesOf(nothing as ApiDeps)
const described = describe(routes) as { paths: Record<string, Record<string, Operation>> }
const { paths } = described

it('names the statuses, the required body, the headers and the formats of each route', () => {
  for (const route of routes.filter(({ page, internal }) => page !== true && internal !== true)) {
    const { method, path, allow, answers, body } = route
    const name = `${method} ${path}`
    const operation = paths[pathTemplate(path)]?.[method]
    expect(Object.keys(operation?.responses ?? {}), name).toEqual(
      expect.arrayContaining([
        ...Object.keys(answers),
        ...(allow === 'public' ? [] : ['401', '403', '500', '503']),
      ]),
    )
    expect(operation?.responses, name).not.toHaveProperty('default')
    const needsBody = body === undefined ? true : !body.safeParse({}).success
    if (operation?.requestBody !== undefined) expect(operation.requestBody.required, name).toBe(needsBody)
    const isCommand = method !== 'get' && typeof allow !== 'string'
    const parameters = operation?.parameters ?? []
    if (isCommand)
      expect(
        parameters.map((each) => each.name),
        name,
      ).toContain('idempotency-key')
    for (const parameter of parameters.filter(({ in: place }) => place === 'header'))
      expect(Object.keys(parameter.schema).length, `${name} ${parameter.name}`).toBeGreaterThan(1)
    for (const parameter of parameters.filter((each) =>
      /^(since|until|at|cursor|data|metric|order|one|other)$/.test(each.name),
    ))
      expect('pattern' in parameter.schema || 'enum' in parameter.schema, `${name} ${parameter.name}`).toBe(
        true,
      )
  }
})

it('requires a body exactly where a command without fields is refused', () => {
  for (const [name, required] of [
    ['post /v1/drills', true],
    ['post /v1/keys', true],
    ['post /v1/models/{name}/retrainings', false],
  ] as const) {
    const [method = '', path = ''] = name.split(' ')
    expect(paths[path]?.[method]?.requestBody?.required, name).toBe(required)
  }
})

it('leaves no schema open', () => expect(issuesOfSchemas(described)).toEqual([]))

it('names every operation once', () => {
  const ids = Object.values(paths).flatMap((methods) =>
    Object.values(methods).map(({ operationId }) => operationId),
  )
  expect(new Set(ids).size).toBe(ids.length)
  expect(ids).toEqual(
    expect.arrayContaining(['post_v1_models_name_predict', 'post_v1_models_name_colon_predict']),
  )
})

it('gives every response a schema and the id of the request', () => {
  for (const [path, methods] of Object.entries(paths))
    for (const [method, { responses }] of Object.entries(methods))
      for (const [status, response] of Object.entries(responses as Record<string, Response>)) {
        const name = `${method} ${path} ${status}`
        expect(response.headers, name).toHaveProperty('x-request-id')
        if (status !== '204') expect(Object.keys(response.content ?? {}), name).not.toEqual([])
      }
})
