/**
 * Describes the predictions of one model as OpenAPI: the names, types, units and expected ranges of its features, and its output. Describes
 * the version that serves by default.
 */
import { flagReader } from '../../domain/values/readings.ts'
import { base64LengthOf, imageFormats } from '../../domain/values/media.ts'
import {
  maxBytesOf,
  maxLengthOf,
  sentFeatures,
  storedKind,
  type Feature,
} from '../../domain/model/features.ts'
import type { RouteDefinition } from '../http/route.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import { mayBeAbsent } from '../../domain/registry/version.ts'
import type { Output, AnswerField, NumberRange } from '../../domain/tasks/output.ts'
import { taskOf } from '../../domain/tasks/tasks.ts'

type Schema = Record<string, unknown>
/** A JSON schema of an object, as declared routes write it. */
interface ObjectSchema extends Schema {
  properties: Record<string, Schema>
}

/** Returns the prediction routes of the model, with its name in their paths and its rows in their schemas. `fields`: what requests may carry. */
export function routesOfModel(
  routes: readonly RouteDefinition[],
  model: string,
  manifest: Pick<Manifest, 'features' | 'output'>,
  fields: readonly string[] = [],
): RouteDefinition[] {
  const row = rowSchema(sentFeatures(manifest.features), fields)
  const native = { instances: { type: 'array', minItems: 1, items: row } }
  const records = { dataframe_records: native.instances }
  const prediction = predictionSchema(manifest.output)
  const predictions = { predictions: { type: 'array', items: prediction } }
  const plain = { predictions: { type: 'array', items: plainSchema(manifest.output) } }
  const changes: Record<string, { sent: Record<string, Schema>; given: Record<string, Schema> }> = {
    '/v1/models/:name/predict': { sent: native, given: predictions },
    '/v1/models/:name:predict': { sent: native, given: plain },
    '/v1/models/:name/invocations': { sent: records, given: plain },
    '/v2/models/:name': { sent: {}, given: {} },
    '/v2/models/:name/infer': { sent: {}, given: {} },
  }
  return routes.flatMap((route): RouteDefinition[] => {
    const change = changes[route.path]
    if (change === undefined) return []
    const { rawSchema, answerSchema } = route
    return [
      {
        ...route,
        path: route.path.replace(':name', model),
        rawSchema: rawSchema && withProperties(rawSchema as ObjectSchema, change.sent),
        answerSchema: answerSchema && withProperties(answerSchema as ObjectSchema, change.given),
      },
    ]
  })
}

const withProperties = (schema: ObjectSchema, properties: Record<string, Schema>): ObjectSchema => ({
  ...schema,
  properties: { ...schema.properties, ...properties },
})

/** Returns the schema of a row with every feature and the other fields. Filled and looked-up features may be left out. */
export function rowSchema(
  features: Readonly<Record<string, Feature>>,
  fields: readonly string[] = [],
): Schema {
  const entries = Object.entries(features)
  const entities = entries.flatMap(([, { from }]) => from?.by ?? [])
  const looked = entities.filter((name) => features[name] === undefined)
  return {
    type: 'object',
    required: entries.flatMap(([name, feature]) => (mayBeAbsent(feature) ? [] : [name])),
    properties: {
      ...Object.fromEntries(fields.map((name) => [name, { description: 'Ignored by this version.' }])),
      ...Object.fromEntries(entries.map(([name, feature]) => [name, featureSchema(feature)])),
      ...Object.fromEntries(
        looked.map((name) => [
          name,
          { anyOf: [{ type: 'string' }, { type: 'number' }, { type: 'null' }], description: 'An entity.' },
        ]),
      ),
    },
    additionalProperties: false,
  }
}

/**
 * Returns the schema of a feature. It has no `minimum` and `maximum`, because values outside the range are served and counted, and clients
 * would enforce the limits.
 */
function featureSchema(feature: Feature): Schema {
  const isFillable = feature.missing === 'fill'
  const texts = feature.kind === 'category' ? (feature.values ?? []) : []
  const hasFlags = flagReader(storedKind(feature), texts) !== undefined
  const flags = texts.flatMap((text) => (text === 'true' || text === 'false' ? [text === 'true'] : []))
  const typesOf = (type: string): string | string[] =>
    hasFlags || isFillable ? [type, ...(hasFlags ? ['boolean'] : []), ...(isFillable ? ['null'] : [])] : type
  const about = feature.about === undefined ? [] : [feature.about]
  if (feature.kind === 'category') {
    const values = feature.values === undefined ? undefined : [...feature.values]
    return {
      type: typesOf('string'),
      enum: values && [...values, ...flags, ...(isFillable ? [null] : [])],
      description: textOf(about),
    }
  }
  if (feature.kind === 'text')
    return { type: typesOf('string'), maxLength: maxLengthOf(feature), description: textOf(about) }
  if (feature.kind === 'image') {
    const description = textOf([...about, `base64 of ${imageFormats.join(', ')}`])
    return {
      type: typesOf('string'),
      format: 'byte',
      maxLength: base64LengthOf(maxBytesOf(feature)),
      description,
    }
  }
  if (feature.kind === 'vector') {
    const { length } = feature
    const items = { type: 'number' }
    return { type: typesOf('array'), items, minItems: length, maxItems: length, description: textOf(about) }
  }
  const { unit, min, max } = feature
  const range =
    min === undefined && max === undefined ? [] : [`expected from ${min ?? '−∞'} to ${max ?? '∞'}`]
  return {
    type: typesOf('number'),
    description: textOf([...about, ...(unit === undefined ? [] : [`in ${unit}`]), ...range]),
    'x-unit': unit,
    'x-expected-minimum': min,
    'x-expected-maximum': max,
  }
}

const textOf = (parts: readonly string[]): string | undefined =>
  parts.length === 0 ? undefined : parts.join('; ')

const id = { type: 'string', format: 'uuid' }

function predictionSchema(output: Output): Schema {
  const of = (properties: Record<string, Schema>): Schema => ({
    type: 'object',
    required: ['id', ...Object.keys(properties)],
    properties: { id, ...properties },
  })
  const listed = (names: readonly string[], schema: Schema): Schema => ({
    type: 'object',
    required: [...names],
    properties: Object.fromEntries(names.map((name) => [name, schema])),
  })
  return of(
    Object.fromEntries(
      taskOf(output)
        .fields(output)
        .map((each) => [each.field, schemaOf(each, output, listed)]),
    ),
  )
}

const plainSchema = (output: Output): Schema =>
  schemaOf(taskOf(output).fields(output)[0]!, output, (_names, items) => ({ type: 'array', items }))

function schemaOf(
  field: AnswerField,
  output: Output,
  listed: (names: readonly string[], schema: Schema) => Schema,
): Schema {
  switch (field.is) {
    case 'number':
      return numberSchema(taskOf(output).range(output))
    case 'numbers':
      return listed(field.names, numberSchema(taskOf(output).range(output)))
    case 'flag':
      return { type: 'boolean', description: `Whether the probability is at least ${field.threshold}.` }
    case 'name':
      return { type: 'string', enum: [...field.names] }
    case 'text':
      return { type: 'string', enum: [field.text] }
  }
}

/** Returns the schema of a numeric output. Its limits are exact, because an output outside the range is refused. */
const numberSchema = ({ unit, min, max }: NumberRange): Schema => ({
  type: 'number',
  minimum: min,
  maximum: max,
  'x-unit': unit,
})
