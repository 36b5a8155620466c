/** `/livez`, `/readyz`, `/metrics`: for supervisors, load balancers and Prometheus. */
import { goldenIssueOf } from '../serving/version/loaded-version.ts'
import type { Actor } from '../auth/authentication.ts'
import { defineRoute, viewers, type RouteDefinition } from '../http/route.ts'
import type { ApiDeps } from '../deps.ts'
import { DomainError } from '../../domain/errors.ts'
import { redacted } from '../../domain/redact.ts'

export const healthRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute({
    method: 'get',
    path: '/livez',
    allow: 'public',
    summary: 'Whether the process answers at all.',
    answers: { 200: 'It does' },
    handle: () => ({ json: alive }),
  }),
  defineRoute({
    method: 'get',
    path: '/readyz',
    allow: 'public',
    summary:
      'Whether the process should get requests: it answers the golden rows of every version it holds. With a key it says more.',
    answers: { 200: 'It should', 503: 'It should not, and why' },
    handle({ actor }) {
      const issues = whyNotReady(deps)
      if (issues.length > 0)
        throw new DomainError(
          'not_ready',
          actor === undefined ? `this replica is not ready${emptyHanded(deps)}` : issues.join('; '),
        )
      return { json: readyState(deps, actor) }
    },
  }),
  defineRoute({
    method: 'get',
    path: '/metrics',
    allow: viewers,
    summary: 'What this process counts, for Prometheus.',
    answers: { 200: 'The metrics as text' },
    handle: async () => ({ text: await deps.metrics.metrics(), type: deps.metrics.contentType }),
  }),
]

/** Where no key is known either, nobody could be told more: what everybody may know of a start without a memory. */
const emptyHanded = ({ serving }: ApiDeps): string =>
  serving.routing.isFilled() || serving.unrecalled.length === 0
    ? ''
    : ': nothing on its disk can be believed, and it has not reached Postgres'

export const alive = { status: 'alive' }

export type HealthDeps = Pick<ApiDeps, 'serving' | 'authentication' | 'stopping'>

/** What everybody may know of a replica that is ready, and more for those who have a key. */
export const readyState = (deps: HealthDeps, actor: Actor | undefined): Record<string, unknown> => ({
  status: 'ready',
  ...(actor === undefined ? {} : { ...databaseOf(deps), ...stateOf(deps) }),
})

/** Why nobody should send it requests now, also when that passes by itself. */
export const whyNotReady = (deps: HealthDeps): string[] => [...issuesOf(deps), ...refusing(deps)]

/** A caller is told so in a moment, and better than that nobody listens: on a shared port the replica stays for that. */
const refusing = ({ serving }: HealthDeps): string[] =>
  serving.durable?.isAway() === true
    ? ['the prediction log cannot be written, and no prediction is answered without it']
    : []

/** Why this process should not get requests; empty when it should. */
export function issuesOf({ serving, authentication, stopping }: HealthDeps): string[] {
  const issues: string[] = []
  const end = stopping()
  if (end !== undefined) issues.push(end)
  if (!authentication.isReady()) issues.push('the keys have not been read yet')
  if (!serving.routing.isFilled())
    issues.push(['the routes have not been read yet', ...serving.unrecalled].join(': '))
  for (const [model, { text }] of serving.routing.problems())
    if (serving.routing.find(model) === undefined)
      issues.push(`no version of ${model} can be served: ${text}`)
  for (const loaded of serving.routing.loaded()) {
    const issue = goldenIssueOf(loaded)
    if (issue !== undefined) issues.push(`${loaded.version}: ${issue}`)
  }
  return issues
}

/** A replica without its database is ready: it answers. Whoever looks after it should know all the same. */
function databaseOf({ serving }: HealthDeps) {
  const outage = serving.outage()
  if (outage === undefined) return {}
  const { kind, why, forMs } = outage
  const what = kind === 'full' ? 'has no room on its disk' : 'does not answer'
  return { database: { trouble: kind, detail: redacted(`Postgres ${what}: ${why}`), for_ms: forMs } }
}

function stateOf({ serving }: HealthDeps) {
  const models = [...serving.routing.live()].map(({ route: { model, epoch, generation, proven, arms } }) => ({
    model,
    epoch,
    generation,
    proven,
    arms,
    problem: serving.routing.problems().get(model)?.text,
  }))
  return {
    stale: serving.now() >= serving.lease.until,
    pinned: serving.switches.pinned(),
    unavailable: [...serving.routing.loaded()].flatMap(({ version, predictor }) => {
      const trouble = predictor.trouble?.()
      return trouble === undefined ? [] : [{ version, trouble }]
    }),
    models,
  }
}
