/** `/livez`, `/readyz`, `/metrics`: reports liveness, readiness and metrics to supervisors, load balancers and Prometheus. */
import * as schema from '../../domain/schema.ts'
import { sharesOf, type ActiveRoute } from '../serving/routing/route-table.ts'
import { goldenIssueOf } from '../serving/version/loaded-version.ts'
import { openMetricsText, openMetricsType, readMetrics, wantsOpenMetrics } from '../metrics/open-metrics.ts'
import { canAccessModel, type Actor } from '../auth/authentication.ts'
import { requireUnscoped } from '../auth/authorization.ts'
import { defineRoute, viewers, type RouteDefinition } from '../http/route.ts'
import type { ApiDeps } from '../deps.ts'
import { DomainError } from '../../domain/errors.ts'
import { redacted } from '../../domain/redact.ts'

export const healthRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('get', '/livez', 'public', {
    summary: 'Check that the process responds.',
    answers: { 200: 'It responds' },
    answerSchema: schema.record({ status: schema.text }),
    handle: () => ({ json: alive }),
  }),
  defineRoute('get', '/readyz', 'public', {
    summary:
      'Check that the process should get requests: every loaded version predicts its golden rows correctly. The response to a key has details.',
    answers: { 200: 'It is ready', 503: 'It is not ready, with the reason' },
    answerSchema: schema.record(
      { status: schema.text },
      {
        database: schema.data,
        temporal: schema.data,
        stale: schema.flag,
        pinned: schema.list(schema.record({ model: schema.text, serve: schema.text })),
        unavailable: schema.list(schema.data),
        models: schema.list(schema.data),
      },
    ),
    handle({ actor }) {
      const issues = whyNotReady(deps)
      if (issues.length > 0)
        throw new DomainError(
          'not_ready',
          isUnscoped(actor) ? issues.join('; ') : `this replica is not ready${coldStartIssue(deps)}`,
        )
      return { json: readyState(deps, actor) }
    },
  }),
  defineRoute('get', '/metrics', viewers, {
    summary:
      'Get the metrics of this process for Prometheus. They cover all models, so the key must not be limited to some models.',
    answers: { 200: 'The metrics as text' },
    answerMedia: 'text/plain',
    async handle({ actor, header }) {
      requireUnscoped(actor, 'the metrics of a process')
      if (wantsOpenMetrics(header('accept')))
        return { text: openMetricsText(await readMetrics(deps.metrics)), type: openMetricsType }
      return { text: await deps.metrics.metrics(), type: deps.metrics.contentType }
    },
  }),
]

/**
 * Explains why a replica has no routes. Public, because a replica that has loaded no keys cannot give details to authenticated callers
 * only.
 */
function coldStartIssue({ serving }: ApiDeps): string {
  if (serving.routing.isFilled() || serving.unrecalled.length === 0) return ''
  const why = serving.lacksSchema()
    ? 'the database has no schema: a control worker, or `tenure models sync`, makes it'
    : 'it has not reached Postgres'
  return `: its disk cache is missing or invalid, and ${why}`
}

export const alive = { status: 'alive' }

export type HealthDeps = Pick<ApiDeps, 'serving' | 'authentication' | 'stopping' | 'payloadKeyIssue'>

/** Whether this key may see the details of all models. */
const isUnscoped = (actor: Actor | undefined): boolean => actor !== undefined && actor.models === undefined

/** Returns the public state of a ready replica; with a key, also the details that the key may see. */
export const readyState = (deps: HealthDeps, actor: Actor | undefined): Record<string, unknown> => ({
  status: 'ready',
  ...(actor === undefined ? {} : { ...databaseOf(deps), ...temporalOf(deps), ...stateOf(deps, actor) }),
})

/** Returns every reason against sending requests now, including temporary reasons. */
export const whyNotReady = (deps: HealthDeps): string[] => [...issuesOf(deps), ...refusing(deps)]

/** Throws `not_ready`, without details, for callers without a key. */
export function requireReady(deps: HealthDeps): void {
  if (whyNotReady(deps).length > 0) throw new DomainError('not_ready', 'this replica is not ready')
}

/**
 * Returns the reasons why every prediction is refused for now. They do not take the replica off a shared port: an immediate error is better
 * than a refused connection.
 */
const refusing = ({ serving }: HealthDeps): string[] =>
  serving.log.waits && serving.log.isAway()
    ? ['the prediction log cannot be written; every prediction is refused, because the log is durable']
    : []

/** Returns why this process should get no requests; empty when it should get them. */
export function issuesOf({ serving, authentication, stopping }: HealthDeps): string[] {
  const issues: string[] = []
  const end = stopping()
  if (end !== undefined) issues.push(end)
  if (!authentication.isReady()) issues.push('the keys are not loaded yet')
  if (!serving.routing.isFilled())
    issues.push(['the routes are not loaded yet', ...serving.unrecalled].join(': '))
  for (const [model, { text }] of serving.routing.problems())
    if (serving.routing.find(model) === undefined)
      issues.push(`this replica can serve no version of ${model}: ${text}`)
  for (const loaded of serving.routing.loaded()) {
    const issue = goldenIssueOf(loaded)
    if (issue !== undefined) issues.push(`${loaded.version}: ${issue}`)
  }
  return issues
}

/** Reports a database outage. A replica without its database stays ready, because it still serves. */
function databaseOf({ serving }: HealthDeps) {
  const outage = serving.outage()
  if (outage === undefined) return {}
  const { kind, what, why, remedy, forMs } = outage
  return { database: { trouble: kind, detail: redacted(`Postgres ${what}: ${why}`), remedy, for_ms: forMs } }
}

/** Reports that Temporal cannot take the commands of this replica. The replica stays ready, because it still serves. */
function temporalOf({ payloadKeyIssue }: HealthDeps) {
  const detail = payloadKeyIssue?.()
  return detail === undefined ? {} : { temporal: { trouble: 'payload_keys', detail } }
}

function stateOf({ serving }: HealthDeps, actor: Actor) {
  const armsInForce = (live: ActiveRoute) => sharesOf(serving.routing.tableOf(live, serving.now()))
  const visible = <T extends { model: string }>(rows: Iterable<T>) =>
    [...rows].filter(({ model }) => canAccessModel(actor, model))
  const models = visible(
    [...serving.routing.live()].map((live) => ({ ...live.route, arms: armsInForce(live) })),
  ).map(({ model, epoch, generation, proven, arms }) => ({
    model,
    epoch,
    generation,
    proven,
    arms,
    problem: serving.routing.problems().get(model)?.text,
  }))
  return {
    stale: serving.now() >= serving.lease.until,
    pinned: visible(serving.switches.pinned()),
    unavailable: visible(serving.routing.loaded()).flatMap(({ version, predictor }) => {
      const trouble = predictor.trouble?.()
      return trouble === undefined ? [] : [{ version, trouble }]
    }),
    models,
  }
}
