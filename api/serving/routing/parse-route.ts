/** Parses a row of the routing table and rejects an invalid one, because an operator may have edited it by hand. */
import { z } from 'zod'
import { issuesOfRoute, type Route, type RouteArm } from '../../../domain/serving/route.ts'
import type { RoutingRow } from '../../../store/serving/replicas.ts'

const text = (name: string) => z.string(`${name} is not a text`)
/** Accepts any value; `issuesOfRoute` then judges it. */
const number = (name: string) =>
  z.custom<number>((value) => typeof value === 'number', `${name} is not a number`)

const noVersion = 'an arm names no version'
const arm = z.object(
  {
    arm: z.enum(['canary', 'champion', 'control'] satisfies RouteArm['arm'][], {
      error: ({ input }) => `there is no arm ${String(input)}`,
    }),
    version: z.string(noVersion).min(1, noVersion),
    shareBp: number('the share of an arm'),
  },
  'an arm is not an object',
)

const noGuard = 'guard is not {rate, alpha}, both between 0 and 1'
const share = z.number(noGuard).gt(0, noGuard).lt(1, noGuard)
const noLatency = 'latencyUs is not {p95, p99}'
const latency = z.number(noLatency).min(0, noLatency)
const noReplicas = 'replicas is not a list of ids'
const noTick = 'tickMs is not a whole number from 1'
const noShadow = 'the shadow names no version'
const noTarget = 'targeted is not {version, target} with a header, an attribute or routingKeys'
const named = <Value extends z.ZodType>(value: Value) =>
  z.strictObject({ name: z.string(noTarget), value }, noTarget)

const shape: z.ZodType<Route> = z.strictObject(
  {
    model: text('model'),
    epoch: number('epoch'),
    generation: number('generation'),
    release: text('release').optional(),
    salt: text('salt'),
    arms: z.array(arm, 'arms is not a list'),
    shadow: z
      .object({ version: z.string(noShadow), shareBp: number('the shadow share') }, noShadow)
      .optional(),
    targeted: z
      .strictObject(
        {
          version: z.string(noTarget),
          target: z.union(
            [
              z.strictObject({ header: named(z.string(noTarget)) }),
              z.strictObject({ attribute: named(z.union([z.string(), z.number()])) }),
              z.strictObject({ routingKeys: z.array(z.string()) }),
            ],
            noTarget,
          ),
        },
        noTarget,
      )
      .optional(),
    replicas: z.array(z.string(noReplicas), noReplicas).min(1, noReplicas).optional(),
    proven: text('proven'),
    standby: text('standby').min(1, 'standby is not a text').optional(),
    tickMs: z.int(noTick).min(1, noTick).optional(),
    latencyUs: z.object({ p95: latency, p99: latency }, noLatency).optional(),
    guard: z.object({ rate: share, alpha: share }, noGuard).optional(),
  },
  {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? `the field ${issue.keys.join(', ')} is unknown`
        : 'it is not an object',
  },
)

/** Parses a row. Returns the route, or why the row is invalid. */
export function parseRow(
  row: Pick<RoutingRow, 'model' | 'epoch' | 'generation' | 'route'>,
): { route: Route } | { problem: string } {
  const { data, error } = shape.safeParse(row.route)
  const issues = data === undefined ? error.issues.map(({ message }) => message) : issuesIn(data, row)
  return data !== undefined && issues.length === 0
    ? { route: data }
    : { problem: `the route is refused: ${[...new Set(issues)].join('; ')}` }
}

const issuesIn = (route: Route, row: Pick<RoutingRow, 'model' | 'epoch' | 'generation'>): string[] => [
  ...issuesOfRoute(route),
  ...(['model', 'epoch', 'generation'] as const)
    .filter((name) => route[name] !== row[name])
    .map((name) => `${name} is ${route[name]} in the route and ${row[name]} in its row`),
]
