/** Parses a row of the routing table and rejects an invalid one, because an operator may have edited it by hand. */
import { issuesOfRoute, type Arm, type Route } from '../../../domain/serving/route.ts'
import type { RoutingRow } from '../../../store/serving/replicas.ts'

const arms: readonly string[] = ['canary', 'champion', 'control'] satisfies Arm[]
const fields = new Set([
  'model',
  'epoch',
  'generation',
  'release',
  'salt',
  'arms',
  'shadow',
  'replicas',
  'proven',
  'standby',
  'tickMs',
  'latencyUs',
  'guard',
])

/** The route, or what is wrong with it. */
export function parseRow(
  row: Pick<RoutingRow, 'model' | 'epoch' | 'generation' | 'route'>,
): { route: Route } | { problem: string } {
  const issues = issuesOfShape(row.route)
  if (issues.length > 0) return { problem: `the route is refused: ${issues.join('; ')}` }
  const route = row.route as Route
  issues.push(...issuesOfRoute(route))
  for (const name of ['model', 'epoch', 'generation'] as const)
    if (route[name] !== row[name])
      issues.push(`${name} is ${route[name]} in the route and ${row[name]} in its row`)
  return issues.length > 0 ? { problem: `the route is refused: ${issues.join('; ')}` } : { route }
}

function issuesOfShape(value: unknown): string[] {
  if (!isObject(value)) return ['it is no object']
  const issues: string[] = []
  const want = (holds: boolean, sentence: string): void => {
    if (!holds) issues.push(sentence)
  }
  for (const name of Object.keys(value)) want(fields.has(name), `the field ${name} is unknown`)
  for (const name of ['model', 'salt', 'proven']) want(typeof value[name] === 'string', `${name} is no text`)
  for (const name of ['epoch', 'generation']) want(typeof value[name] === 'number', `${name} is no number`)
  want(value['release'] === undefined || typeof value['release'] === 'string', 'release is no text')
  want(Array.isArray(value['arms']), 'arms is no list')
  for (const arm of Array.isArray(value['arms']) ? (value['arms'] as unknown[]) : []) {
    if (!isObject(arm)) issues.push('an arm is no object')
    else {
      want(arms.includes(String(arm['arm'])), `there is no arm ${String(arm['arm'])}`)
      want(typeof arm['version'] === 'string' && arm['version'] !== '', 'an arm names no version')
      want(typeof arm['shareBp'] === 'number', 'the share of an arm is no number')
    }
  }
  const { shadow, tickMs, latencyUs, guard, replicas, standby } = value
  want(standby === undefined || (typeof standby === 'string' && standby !== ''), 'standby is no text')
  if (replicas !== undefined)
    want(
      Array.isArray(replicas) && replicas.length > 0 && replicas.every((id) => typeof id === 'string'),
      'replicas is no list of ids',
    )
  if (shadow !== undefined)
    want(isObject(shadow) && typeof shadow['version'] === 'string', 'the shadow names no version')
  if (tickMs !== undefined)
    want(Number.isInteger(tickMs) && Number(tickMs) >= 1, 'tickMs is no whole number from 1')
  if (latencyUs !== undefined)
    want(
      isObject(latencyUs) && Number(latencyUs['p95']) >= 0 && Number(latencyUs['p99']) >= 0,
      'latencyUs is not {p95, p99}',
    )
  if (guard !== undefined)
    want(
      isObject(guard) && isShare(guard['rate']) && isShare(guard['alpha']),
      'guard is not {rate, alpha}, both between 0 and 1',
    )
  return issues
}

const isShare = (value: unknown): boolean => typeof value === 'number' && value > 0 && value < 1

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
