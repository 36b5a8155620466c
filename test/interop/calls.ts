/** Builds one call of each operation of `/openapi.json`: the required parameters and the smallest body that its schema allows. */

export interface Call {
  id: string
  method: string
  path: string
  parameters: Record<string, string>
  query: Record<string, string>
  /** Absent where the operation has no body. */
  body?: unknown
  media?: string
  /** Whether the response is text instead of JSON. */
  isText: boolean
  /** The documented statuses. */
  statuses: number[]
}

type Schema = Record<string, unknown>

interface DescribedOperation {
  operationId: string
  parameters: { name: string; in: string; required?: boolean; schema: Schema }[]
  requestBody?: { content: Record<string, { schema: Schema }> }
  responses: Record<string, { content?: object }>
}

export interface OpenApiDocument {
  paths: Record<string, Record<string, DescribedOperation>>
}

/** Parameter name → its value in the calls. */
export type Subjects = Readonly<Record<string, string>>

const row = { sepalLength: 5.1, sepalWidth: 3.5, petalLength: 1.4, petalWidth: 0.2 }
const columns = Object.keys(row)
const split = { dataframe_split: { columns, data: [Object.values(row)] } }
const tensor = { name: 'input', datatype: 'FP64', shape: [1, 4], data: Object.values(row) }
const predictionId = '00000000-0000-4000-8000-000000000000'

/** Bodies for operations where the smallest one would be meaningless. */
const bodies: Readonly<Record<string, unknown>> = {
  post_v1_models_name_predict: { instances: [row] },
  post_v1_models_name_explain: { instances: [row] },
  post_v1_models_name_colon_predict: { instances: [row] },
  post_v1_models_name_invocations: split,
  post_invocations: split,
  post_v2_models_name_infer: { inputs: [tensor] },
  post_v2_models_name_versions_version_infer: { inputs: [tensor] },
  post_v1_outcomes: {
    outcomes: [{ prediction_id: predictionId, value: 1, observed_at: '2026-01-01T00:00:00Z' }],
  },
  post_v1_events: { name: 'purchase', routing_key: 'user-1', occurred_at: '2026-01-01T00:00:00Z' },
  // Without a rate, it repeats a peak, which no model has here.
  post_v1_versions_version_load_tests: { rate: 1 },
  post_v1_keys: { name: 'made-by-a-client', role: 'viewer' },
}

export function callsOf({ paths }: OpenApiDocument, subjects: Subjects): Call[] {
  return Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => {
      const { operationId: id, parameters, requestBody, responses } = operation
      const valuesOf = (place: string) =>
        Object.fromEntries(
          parameters
            .filter((each) => each.in === place && (place === 'path' || each.required === true))
            .map(({ name, schema }) => [name, subjects[name] ?? String(sampleOf(schema))]),
        )
      const [media, content] = bodyOf(requestBody?.content ?? {})
      const succeeded = Object.entries(responses).filter(([status]) => Number(status) < 400)
      return {
        id,
        method,
        path,
        parameters: valuesOf('path'),
        query: valuesOf('query'),
        ...(media !== undefined && { media, body: bodies[id] ?? sampleOf(content!.schema, subjects) }),
        isText: !succeeded.some(([, { content: answer = {} }]) => 'application/json' in answer),
        statuses: Object.keys(responses).map(Number),
      }
    }),
  )
}

/** Chooses JSON where the operation accepts it. */
function bodyOf(content: Record<string, { schema: Schema }>) {
  const entries = Object.entries(content)
  return entries.find(([media]) => media === 'application/json') ?? entries[0] ?? []
}

/** Returns the smallest value that a schema allows. */
function sampleOf(schema: Schema, subjects: Subjects = {}): unknown {
  const { enum: values, anyOf, oneOf, properties = {}, required = [], items, prefixItems } = schema
  if ('const' in schema) return schema['const']
  if (Array.isArray(values)) return values[0]
  const [alternative] = (anyOf ?? oneOf ?? []) as Schema[]
  if (alternative !== undefined) return sampleOf(alternative, subjects)
  const [type] = [schema['type']].flat()
  if (type === 'object') {
    const named = properties as Record<string, Schema>
    const needed = required as string[]
    return Object.fromEntries(
      needed.map((name) => [name, subjects[name] ?? sampleOf(named[name] ?? {}, subjects)]),
    )
  }
  if (type === 'array') {
    const each = prefixItems ?? Array<unknown>(Number(schema['minItems'] ?? 0)).fill(items ?? {})
    return (each as Schema[]).map((item) => sampleOf(item, subjects))
  }
  if (type === 'integer' || type === 'number') return schema['minimum'] ?? 1
  if (type === 'boolean') return true
  if (type === 'null') return null
  if (schema['format'] === 'date-time') return '2026-01-01T00:00:00Z'
  if (schema['format'] === 'uuid') return predictionId
  if (String(schema['pattern']).includes('sha256')) return `sha256:${'0'.repeat(64)}`
  return 'iris'
}
