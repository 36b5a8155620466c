/** Generates the reference page of HTTP routes from the declared routes. */
import type { ApiDeps } from '../../api/deps.ts'
import { pathTemplate, type Access, type RouteDefinition } from '../../api/http/route.ts'
import { describe } from '../../api/http/openapi.ts'
import { routesOf } from '../../api/routes/all-routes.ts'
import { markdownCode, markdownTable } from './markdown-table.ts'

/** Dependencies for the route factories: a proxy that provides any property, because no handler runs. */
const nothing: unknown = new Proxy(() => {}, {
  get: (_target, name) => (name === Symbol.toPrimitive ? () => '' : nothing),
  apply: () => nothing,
})

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
    'Every route, from its declaration in `api/routes/`. `/openapi.json` tells the same to programs, and `/docs` lets one try it.',
    'Send `Authorization: Bearer <key>`; keys are made by `tenure keys create`. Commands take an `Idempotency-Key`, under which',
    'a repetition does nothing twice. What can go wrong stands in [errors](errors.md). Lists answer at most `limit` rows.',
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

function fieldsOf(schema: Schema | undefined, prefix: string): string[][] {
  return Object.entries(schema?.properties ?? {}).flatMap(([name, field]) => [
    [
      markdownCode(`${prefix}${name}`),
      'body',
      typeOf(field),
      schema?.required?.includes(name) === true ? 'yes' : 'no',
    ],
    ...fieldsOf(field, `${prefix}${name}.`),
  ])
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
