/** Generates the reference page of HTTP routes from the declared routes. */
import type { ApiDeps } from '../../../api/deps.ts'
import { pathTemplate, type Access, type RouteDefinition } from '../../../api/http/route.ts'
import { describe } from '../../../api/http/openapi.ts'
import { routesOf } from '../../../api/routes/all-routes.ts'
import { markdownCode, markdownTable } from '../../../test/support/docs/markdown-table.ts'

/** Dependencies for the route factories: a proxy that provides any property, because no handler runs. */
export const nothing: unknown = new Proxy(() => {}, {
  get: (_target, name) => (name === Symbol.toPrimitive ? () => '' : nothing),
  apply: () => nothing,
})

const headers = [
  [
    '`Idempotency-Key`',
    'commands',
    '1 to 150 visible ASCII characters; two API keys never share one. Within 24 hours a repetition gets the first response, and another body or route is refused with `idempotency_conflict`.',
  ],
  [
    '`Idempotency-Key`',
    'predictions',
    'A UUID. Where [the prediction log is durable](../how-to/durable-logging.md), a repetition gets the first response.',
  ],
  [
    '`x-deadline-ms`',
    'predictions',
    'How long the caller waits, at most 60,000 ms. A request that cannot be answered in time is not computed.',
  ],
  ['`x-request-id`', 'all', 'The id of the request, repeated in its response and in the log.'],
  [
    '`traceparent`',
    'all',
    "The caller's trace, as W3C defines it, where [traces are sent](../how-to/machines/opentelemetry.md).",
  ],
]

interface Operation {
  parameters: { name: string; in: string; required: boolean; schema: Schema }[]
  requestBody?: { content: Record<string, { schema?: Schema }> }
}
interface Schema {
  type?: string | string[]
  properties?: Record<string, Schema>
  required?: string[]
  enum?: unknown[]
  items?: Schema
  additionalProperties?: Schema | boolean
  anyOf?: Schema[]
  oneOf?: Schema[]
  const?: unknown
  description?: string
}

export function routesPage(): string {
  const routes = routesOf(nothing as ApiDeps)
  const { paths } = describe(routes) as { paths: Record<string, Record<string, Operation>> }
  const groups = new Map<string, RouteDefinition[]>()
  for (const route of routes) groups.set(groupOf(route), [...(groups.get(groupOf(route)) ?? []), route])
  return [
    '# HTTP',
    '',
    'Every route, from its declaration in `api/routes/`. `/openapi.json` has the same for programs, and `/docs` sends requests from a browser.',
    'Send `Authorization: Bearer <key>`; `tenure keys create` creates a key. [Errors](errors.md) lists every code.',
    'Lists have at most `limit` rows: 1 to 1,000, by default 100 (10 values of an entity; 5 of a search, at most 20).',
    '',
    markdownTable(['header', 'of', 'meaning'], headers),
    '',
    ...[...groups].flatMap(([group, members]) => [
      `## ${group}`,
      '',
      ...members.flatMap((route) => sectionOf(route, paths[pathTemplate(route.path)]?.[route.method])),
    ]),
  ].join('\n')
}

const groupOf = ({ path }: RouteDefinition): string => {
  const [first = '', second = ''] = path.split('/').filter((part) => part !== '')
  if (first === 'v1') return `/v1/${second}`
  if (['invocations', 'ping', 'health', 'version'].includes(first!)) return '/invocations: MLflow'
  if (first === 'v2') return '/v2: the Open Inference Protocol'
  return 'Pages, health and description'
}

function sectionOf(route: RouteDefinition, operation: Operation | undefined): string[] {
  const { method, path, allow, summary, answers, contentTypes } = route
  const rows = [...queryOf(operation), ...bodyOf(operation)]
  return [
    `### ${method.toUpperCase()} ${path}`,
    '',
    summary,
    '',
    `For ${whoOf(allow)}. Answers ${Object.entries(answers)
      .map(([status, meaning]) => `${markdownCode(status)} (${meaning})`)
      .join(
        ', ',
      )}.${contentTypes === undefined ? '' : ` Takes ${contentTypes.map(markdownCode).join(', ')}.`}`,
    '',
    ...(rows.length === 0 ? [] : [markdownTable(['field', 'in', 'type', 'required'], rows), '']),
  ]
}

function whoOf(allow: Access): string {
  if (allow === 'public') return 'all callers, without a key'
  if (allow === 'callers') return 'predictor and admin, or public if `TENURE_PUBLIC_PREDICTIONS` is `on`'
  if (allow === 'labellers')
    return 'labeller, admin and predictor, or public if `TENURE_PUBLIC_PREDICTIONS` is `on`'
  return allow.join(', ')
}

const queryOf = (operation: Operation | undefined): string[][] =>
  (operation?.parameters ?? [])
    .filter((each) => each.in === 'query')
    .map(({ name, required, schema }) => [
      markdownCode(name),
      'query',
      typeOf(schema),
      required ? 'yes' : 'no',
    ])

function bodyOf(operation: Operation | undefined): string[][] {
  const schema = operation?.requestBody?.content['application/json']?.schema
  return fieldsOf(schema, '')
}

/** Lists the fields of an object at any depth: `outcomes[].value` is of each entry of a list, `tags.<name>` of each entry of a record. */
function fieldsOf(schema: Schema | undefined, prefix: string): string[][] {
  const { properties = {}, required = [] } = schema === undefined ? {} : joined(schema)
  return Object.entries(properties).flatMap(([name, field]) => [
    [markdownCode(`${prefix}${name}`), 'body', typeOf(field), required.includes(name) ? 'yes' : 'no'],
    ...innerOf(field, `${prefix}${name}`),
  ])
}

function innerOf(field: Schema, name: string): string[][] {
  const { items } = field
  if (items !== undefined) return innerOf(items, `${name}[]`)
  const { additionalProperties: entry } = field
  if (typeof entry !== 'object' || Object.keys(entry).length === 0) return fieldsOf(field, `${name}.`)
  return [[markdownCode(`${name}.<name>`), 'body', typeOf(entry), 'no'], ...innerOf(entry, `${name}.<name>`)]
}

/** One object with the fields of all alternatives; required is what each of them requires. */
function joined(schema: Schema): Pick<Schema, 'properties' | 'required'> {
  const choices = (schema.anyOf ?? schema.oneOf ?? []).map(joined).filter(({ properties }) => properties)
  if (choices.length === 0) return schema
  const names = new Set(choices.flatMap(({ properties = {} }) => Object.keys(properties)))
  const fieldOf = (name: string): Schema => {
    const found = choices.flatMap(({ properties }) => properties?.[name] ?? [])
    return found.every((each) => typeOf(each) === typeOf(found[0]!)) ? found[0]! : { anyOf: found }
  }
  return {
    properties: Object.fromEntries([...names].map((name) => [name, fieldOf(name)])),
    required: [...names].filter((name) => choices.every(({ required = [] }) => required.includes(name))),
  }
}

function typeOf(schema: Schema): string {
  const choices = schema.anyOf ?? schema.oneOf
  if (choices !== undefined) return [...new Set(choices.map(typeOf))].join(' or ')
  if (schema.const !== undefined) return markdownCode(String(schema.const))
  if (schema.enum !== undefined) return schema.enum.map((each) => markdownCode(String(each))).join(', ')
  if (schema.type === 'array')
    return `list of ${schema.items === undefined ? 'anything' : typeOf(schema.items)}`
  return Array.isArray(schema.type) ? schema.type.join(' or ') : (schema.type ?? 'anything')
}
