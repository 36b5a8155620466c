/** Compares responses with the schemas that their routes declare, so that the API's description matches what it sends. */
import { z } from 'zod'
import { routerPath, type RouteDefinition } from '../../../api/http/route.ts'

type Check = (method: string, path: string, answer: Response, text: string) => void

const patternOf = (path: string): RegExp =>
  new RegExp(
    `^${routerPath(path)
      .replaceAll(/:\w+\{([^}]+)\}/g, '$1')
      .replaceAll(/\/:\w+/g, '/[^/]+')}$`,
  )

/** Throws for a successful response that its route does not declare. */
export function checkAnswersOf(routes: readonly RouteDefinition[]): Check {
  const patterns = routes.map((route) => ({ route, pattern: patternOf(route.path) }))
  const known = patterns.filter(({ route }) => route.page !== true)
  const forms = patterns.filter(({ route }) => route.page === true && route.method === 'post')
  const schemas = new Map<object, z.ZodType>()
  const schemaOf = (described: object): z.ZodType => {
    const found =
      schemas.get(described) ?? z.fromJSONSchema(described as Parameters<typeof z.fromJSONSchema>[0])
    schemas.set(described, found)
    return found
  }
  return (method, path, answer, text) => {
    const { status, headers } = answer
    const [plain = ''] = path.split('?')
    const form = method === 'POST' ? forms.find(({ pattern }) => pattern.test(plain)) : undefined
    if (form !== undefined && status < 400 && form.route.answers[status] === undefined)
      throw new Error(`${method} ${plain} ${status} is not declared`)
    const isJson = (headers.get('content-type') ?? '').startsWith('application/json')
    if (status >= 300 || !isJson) return
    const found = known.find(
      ({ route, pattern }) => route.method.toUpperCase() === method && pattern.test(plain),
    )
    if (found === undefined) return
    const { answers, answerSchema, deferredSchema } = found.route
    const name = `${method} ${plain} ${status}`
    if (answers[status] === undefined) throw new Error(`${name} is not declared`)
    const described = status === 202 ? (deferredSchema ?? answerSchema) : answerSchema
    if (described === undefined) throw new Error(`${name} has no schema`)
    const { error } = schemaOf(described).safeParse(JSON.parse(text))
    if (error !== undefined)
      throw new Error(`${name} differs from its schema: ${z.prettifyError(error)}\n${text.slice(0, 1_000)}`)
  }
}
