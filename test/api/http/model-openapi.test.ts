/** Tests the OpenAPI document of one model: its features and its output. No handler runs. */
import { expect, it } from 'vitest'
import type { ApiDeps } from '../../../api/deps.ts'
import { describe } from '../../../api/http/openapi.ts'
import { routesOfModel, rowSchema } from '../../../api/inference/model-description.ts'
import { routesOf } from '../../../api/routes/all-routes.ts'
import type { Features } from '../../../domain/model/features.ts'
import type { Output } from '../../../domain/tasks/output.ts'

const nothing: unknown = new Proxy(() => {}, {
  get: (_target, name) => (name === Symbol.toPrimitive ? () => '' : nothing),
  apply: () => nothing,
})
const routes = routesOf(nothing as ApiDeps)
const features: Features = {
  distance: { kind: 'number', unit: 'km', min: 0, max: 5_000, about: 'Between the airports' },
  delay: { kind: 'number', missing: 'fill' },
  day: { kind: 'category', values: ['workday', 'weekend'] },
  origin: { kind: 'category', missing: 'fill' },
}
type Schema = Record<string, unknown> & {
  properties: Record<string, Schema>
  items: Schema
  required: string[]
}
type Described = Record<
  string,
  Record<'post' | 'get', { requestBody: Body; responses: Record<string, Body> }>
>
type Body = { content: Record<string, { schema: Schema }> }

function described(output: Output) {
  const { paths } = describe(routesOfModel(routes, 'flight', { features, output })) as { paths: Described }
  const schemasOf = (path: string) => {
    const { requestBody, responses } = paths[path]!.post
    return {
      sent: requestBody.content['application/json']!.schema,
      given: responses['200']!.content['application/json']!.schema,
    }
  }
  return { paths, schemasOf }
}

it('names every feature with its type, unit and expected range', () => {
  const { paths, schemasOf } = described({ kind: 'probability', positive: 'late', threshold: 0.4 })
  expect(Object.keys(paths).sort()).toEqual([
    '/v1/models/flight/invocations',
    '/v1/models/flight/predict',
    '/v1/models/flight:predict',
    '/v2/models/flight',
    '/v2/models/flight/infer',
  ])
  const row = {
    type: 'object',
    required: ['distance', 'day'],
    properties: {
      distance: {
        type: ['number', 'boolean'],
        description: 'Between the airports; in km; expected from 0 to 5000',
        'x-unit': 'km',
        'x-expected-minimum': 0,
        'x-expected-maximum': 5_000,
      },
      delay: { type: ['number', 'boolean', 'null'] },
      day: { type: 'string', enum: ['workday', 'weekend'] },
      origin: { type: ['string', 'null'] },
    },
    additionalProperties: false,
  }
  for (const path of ['/v1/models/flight/predict', '/v1/models/flight:predict'])
    expect(schemasOf(path).sent.properties['instances']!.items).toEqual(row)
  expect(schemasOf('/v1/models/flight/invocations').sent.properties['dataframe_records']!.items).toEqual(row)
  for (const { post } of Object.values(paths))
    expect(
      (post as { parameters?: { name: string }[] } | undefined)?.parameters?.map(({ name }) => name) ?? [],
    ).not.toContain('name')
})

it('describes each kind of output exactly', () => {
  const items = (output: Output) => {
    const { schemasOf } = described(output)
    const listed = (path: string) => schemasOf(path).given.properties['predictions']!.items
    return { own: listed('/v1/models/flight/predict'), plain: listed('/v1/models/flight:predict') }
  }
  const probability = { type: 'number', minimum: 0, maximum: 1 }
  const late = items({ kind: 'probability', positive: 'late', threshold: 0.4 })
  expect(late.plain).toEqual(probability)
  expect(late.own).toMatchObject({
    required: ['id', 'probability', 'label', 'positive'],
    properties: { probability, positive: { enum: ['late'] } },
  })
  const classes = items({ kind: 'classes', classes: ['a', 'b'] })
  expect(classes.plain).toEqual({ type: 'string', enum: ['a', 'b'] })
  expect(classes.own.properties['probabilities']).toEqual({
    type: 'object',
    required: ['a', 'b'],
    properties: { a: probability, b: probability },
  })
  const number = { type: 'number', minimum: 0, maximum: undefined, 'x-unit': 'min' }
  expect(items({ kind: 'number', unit: 'min', min: 0 }).plain).toEqual(number)
  expect(items({ kind: 'number', unit: 'min', min: 0 }).own.properties['value']).toEqual(number)
  const quantiles = items({ kind: 'quantiles', levels: [0.1, 0.9], unit: 'min', min: 0 })
  expect(quantiles.plain).toEqual({ type: 'array', items: number })
  expect(quantiles.own.properties['quantiles']!.required).toEqual(['0.1', '0.9'])
})

it('leaves filled and looked-up features optional, and names the fields that they are looked up by', () => {
  const from = {
    view: 'airports',
    digest: 'sha256:a',
    value: 'runways',
    by: ['origin', 'gate'],
    timeToLiveMs: 1,
    freshMs: 1,
    withinMs: 1,
  }
  const schema = rowSchema({ ...features, runways: { kind: 'number', from } })
  expect(schema['required']).toEqual(['distance', 'day'])
  expect(Object.keys(schema['properties'] as object)).toEqual([...Object.keys(features), 'runways', 'gate'])
  const { properties } = rowSchema(features, ['gate', 'day']) as Schema
  expect(properties['gate']).toEqual({ description: 'Ignored by this version.' })
  expect(properties['day']).toEqual((rowSchema(features) as Schema).properties['day'])
})
