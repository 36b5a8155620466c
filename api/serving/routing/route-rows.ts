/**
 * Applies the rows of routes that a replica has read from the database, and the routes that it recalls. A row is refused, with its problem,
 * when its route is invalid, cannot be loaded, or contradicts the route in force, which then stays.
 */
import { z } from 'zod'
import { canonicalJson } from '../../../domain/canonical-json.ts'
import {
  hasCandidate,
  isNewer,
  type Route,
  issuesOfRoute,
  type RouteArm,
} from '../../../domain/serving/route.ts'
import type { RoutingRead, RoutingRow } from '../../../store/serving/routing.ts'
import type { RouteFollower } from './route-follower.ts'
import type { ActiveRoute } from './route-table.ts'

export interface RoutingProblem {
  epoch: number
  generation: number
  text: string
  /** The version that serves by default, which cannot be loaded; absent when the row itself is refused. */
  version?: string
}

export interface RouteRowsOptions {
  onFollow: (route: Route, cause: 'followed' | 'recalled' | 'dropped') => void
  onProblem: (model: string, problem: RoutingProblem) => void
}

export interface RouteRows {
  /** Why the newest row of a model was refused, by model. */
  problems: ReadonlyMap<string, RoutingProblem>
  /** Follows the route of a row that a query sent at `sentAt` has read, and renews the exposure of its candidate. */
  take(row: RoutingRow, sentAt: number): Promise<void>
  /** Follows a route from before the start of this process, with its candidate unexposed. */
  recall(route: Route): Promise<void>
  /**
   * Drops the routes that a restored database has lost: those of models that were first released after the backup. Their versions are no
   * longer served, because nothing there could roll them back.
   */
  dropLost(read: RoutingRead): void
}

export function createRouteRows(routes: RouteFollower, { onFollow, onProblem }: RouteRowsOptions): RouteRows {
  const { live } = routes
  const problems = new Map<string, RoutingProblem>()

  const refuse = (row: RoutingRow, text: string, version?: string): void => {
    const before = problems.get(row.model)
    const problem = { epoch: row.epoch, generation: row.generation, text, version }
    problems.set(row.model, problem)
    if (before?.text !== text || before.generation !== row.generation) onProblem(row.model, problem)
  }
  const follow = async (route: Route, cause: 'followed' | 'recalled'): Promise<ActiveRoute> => {
    const model = await routes.follow(route, cause === 'recalled')
    problems.delete(route.model)
    onFollow(route, cause)
    return model
  }
  return {
    problems,
    async take(row, sentAt) {
      const current = live.get(row.model)
      if (current !== undefined && !isNewer(row, current.route)) {
        const lost = lostRoute(current, row)
        if (lost !== undefined) return refuse(row, lost)
        renewExposure(current, row, sentAt)
        problems.delete(row.model)
        return
      }
      const parsed = parseRow(row)
      if ('problem' in parsed) return refuse(row, parsed.problem)
      try {
        renewExposure(await follow(parsed.route, 'followed'), row, sentAt)
      } catch (error) {
        // A newer route exists, so the exposure of the old one is no longer renewed.
        if (current !== undefined) current.exposedUntil = 0
        const champion = parsed.route.arms.find(({ arm }) => arm === 'champion')?.version
        refuse(row, (error as Error).message, champion)
      }
    },
    async recall(route) {
      const row = { ...route, route, remainingMs: null, exposedUntilMs: null, exposureMs: null }
      const parsed = parseRow(row)
      if ('problem' in parsed) return
      await follow(parsed.route, 'recalled').catch((error: Error) => refuse(row, error.message))
    },
    dropLost({ epoch, rows }) {
      const routed = new Set(rows.map(({ model }) => model))
      for (const [model, { route }] of live) {
        if (routed.has(model) || route.epoch >= epoch) continue
        routes.drop(model)
        problems.delete(model)
        onFollow(route, 'dropped')
      }
    },
  }
}

function renewExposure(model: ActiveRoute, row: RoutingRow, sentAt: number): void {
  const { remainingMs, exposedUntilMs, exposureMs } = row
  // Counted from the time of the query, so that a slow response shortens the exposure and never prolongs it. More time than a renewal
  // gives is left only when the database's clock was set back.
  const until = remainingMs === null ? 0 : sentAt + Math.min(remainingMs, exposureMs ?? Infinity)
  // An exposure that was not renewed cannot grow, unless the clock of the database was set back.
  const isRenewed = exposedUntilMs !== model.renewedTo
  if (!hasCandidate(model.route)) model.exposedUntil = Infinity
  else model.exposedUntil = isRenewed ? until : Math.min(model.exposedUntil, until)
  model.renewedTo = exposedUntilMs
}

/**
 * Why this database lacks the route that this replica follows: it was restored, or has lost its last writes. The generation of such a
 * route is not acknowledged, because it would count as a newer one.
 */
function lostRoute(current: ActiveRoute, row: RoutingRow): string | undefined {
  const { epoch, generation } = current.route
  const remedy = 'the database has lost what it knew: tenure restore --after-point-in-time raises its epoch'
  if (isNewer(current.route, row))
    return `this replica follows generation ${generation} of epoch ${epoch}, which is newer; ${remedy}`
  const text = JSON.stringify(row.route)
  if (current.readText === text) return undefined
  const parsed = parseRow(row)
  if ('problem' in parsed) return parsed.problem
  if (canonicalJson(parsed.route) !== canonicalJson(current.route))
    return `this replica follows another route of generation ${generation}; ${remedy}`
  current.readText = text
  return undefined
}

// Parses a row of the routing table and rejects an invalid one, because an operator may have edited it by hand.

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
