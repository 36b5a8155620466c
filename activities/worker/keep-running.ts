/**
 * Restarts the workflows and schedules that must always run, and raises an alert for one that was ended, deleted, paused or blocked from
 * outside. Otherwise a model would stay without monitoring, retraining or alerts, unnoticed.
 */
import type { Client } from '@temporalio/client'
import type { AlertKind } from '../../domain/monitoring/alert-kinds.ts'
import { reasonOf } from '../../domain/errors.ts'
import { readExpectedWork } from '../../store/maintenance/expected-work.ts'
import { listOpenAlertKeys, resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import { findRelease, unansweredPrefix } from '../../store/release/releases.ts'
import { inParallel } from '../../workflows/client/in-parallel.ts'
import {
  findBlocked,
  findMissingWorkflows,
  inspectSchedules,
  listOpenWorkflows,
  type BlockedWorkflow,
  type ScheduleStates,
} from '../../workflows/client/inspect.ts'
import { callMs, schedulesOf, upsertSchedule } from '../../workflows/client/schedules.ts'
import { permanentWorkflows, startPermanent } from '../../workflows/client/permanent-workflows.ts'
import type { Deps } from '../deps.ts'
import { changedSince, textOfChanged } from '../../domain/installation/plan.ts'
import { addressOf } from '../../domain/installation/resource.ts'
import { listApplied } from '../../store/installation/applied-state.ts'
import { readLiveState } from '../../store/installation/live-state.ts'
import type { Store } from '../../store/postgres.ts'

/** Workflows described per round; the next round continues with the others. */
const defaultMaxDescribed = 200

export interface Round {
  /** Workflow ids and schedule ids that were started or created again. */
  restored: string[]
  paused: string[]
  blocked: string[]
}

interface Problem {
  kind: AlertKind
  /** The id of the workflow or the schedule. */
  id: string
  message: string
  severity: 'warning' | 'critical'
  evidence: Record<string, unknown>
}

/** Runs one round per call. A workflow that was just started may not be visible yet, so an absence must show in two rounds. */
export function createKeeper(
  deps: Deps,
  client: Client,
  { maxDescribed = defaultMaxDescribed } = {},
): () => Promise<Round> {
  const { store } = deps
  let suspected = new Set<string>()
  let described = 0

  /** The workflows to describe in this round: those with an alert, and the next ones in turn. */
  const chooseDescribed = (open: readonly string[], alerts: readonly string[]): string[] => {
    const alerted = alerts.flatMap((key) =>
      key.startsWith(blockedPrefix) ? [key.slice(blockedPrefix.length)] : [],
    )
    const next = [...open.slice(described), ...open.slice(0, described)].slice(0, maxDescribed)
    described = open.length <= maxDescribed ? 0 : (described + maxDescribed) % open.length
    return [...new Set([...alerted, ...next])]
  }

  return async () => {
    const { open, missing, paused, models } = await inspect(deps, client)
    const absent = new Set<string>()
    const isCertain = (key: string): boolean => {
      absent.add(key)
      return suspected.has(key)
    }
    const restored = missing.filter(({ what, id }) => isCertain(`${what} ${id}`))
    const restorations = await inParallel(restored, (each) => restore(client, each))
    suspected = absent

    const earlier = await listOpenAlertKeys(store, [
      'workflow_missing',
      'schedule_paused',
      'workflow_blocked',
    ])
    const blocked = await findBlocked(client, chooseDescribed(open, earlier))
    await closeAnswered(store, earlier)
    const problems = [...restorations, ...paused.map(pausedProblem), ...blocked.map(blockedProblem)]
    const own = earlier.filter((key) => !key.startsWith(unansweredPrefix))
    await raiseAlerts(deps, { problems, earlier: own, models })
    await reportChangedByHand(store)
    return {
      restored: restored.map(({ id }) => id),
      paused: paused.map(({ scheduleId }) => scheduleId),
      blocked: blocked.map(({ workflowId }) => workflowId),
    }
  }
}

/** What must run and is not there. */
interface Missing {
  what: 'workflow' | 'schedule'
  id: string
  again: () => Promise<void>
}

/** Compares what must run with what Temporal runs. */
async function inspect({ store, config }: Deps, client: Client) {
  const taskQueue = config.taskQueues.control
  const expected = await readExpectedWork(store)
  const removed = new Set(expected.removed)
  const names = expected.models.map(({ name }) => name)
  const scheduled = expected.models.filter(({ name }) => !removed.has(name))
  const open = await listOpenWorkflows(client, taskQueue)
  const workflows = await findMissingWorkflows(
    client,
    permanentWorkflows({ ...expected, models: names }),
    open,
  )
  const schedules = await inspectSchedules(client, schedulesOf({ ...expected, models: scheduled }, taskQueue))
  const missing: Missing[] = [
    ...workflows.map((each) => ({
      what: 'workflow' as const,
      id: each.workflowId,
      again: () => startPermanent(client, each, taskQueue),
    })),
    ...schedules.missing.map((each) => ({
      what: 'schedule' as const,
      id: each.scheduleId,
      again: () => upsertSchedule(client, each),
    })),
  ]
  return { open, missing, paused: schedules.paused, models: new Set(names) }
}

/** Starts a workflow or creates a schedule again. Returns what to report. */
async function restore(client: Client, { what, id, again }: Missing): Promise<Problem> {
  const failed = await client.withDeadline(Date.now() + callMs, again).then(
    () => undefined,
    (error: unknown) => reasonOf(error),
  )
  return {
    kind: 'workflow_missing',
    id: `${what}/${id}`,
    severity: 'warning',
    message:
      `The ${what} ${id} was not there, although it must be. ` +
      (failed === undefined
        ? 'It has been started again. Find out what ended or deleted it.'
        : `It cannot be started again: ${failed}. Run \`tenure models sync\`.`),
    evidence: { id },
  }
}

const pausedProblem = ({ scheduleId, note }: ScheduleStates['paused'][number]): Problem => ({
  kind: 'schedule_paused',
  id: scheduleId,
  severity: 'warning',
  message: `The schedule ${scheduleId} is paused (${note || 'no note'}), so it starts nothing. Resume it: temporal schedule toggle --schedule-id ${scheduleId} --unpause --reason "…"`,
  evidence: { schedule: scheduleId, note },
})

const blockedProblem = ({ workflowId, runId, attempts, cause }: BlockedWorkflow): Problem => ({
  kind: 'workflow_blocked',
  id: workflowId,
  severity: 'critical',
  message: `The workflow ${workflowId} cannot continue and answers nothing: its task has failed ${attempts} times (${cause}). If no worker of another build can run it, end it: temporal workflow terminate --workflow-id ${workflowId} --reason "…"`,
  evidence: { workflow: workflowId, run: runId, attempts, cause },
})

/** Raises an alert for each problem, and resolves the alerts of earlier rounds whose problem is gone. */
async function raiseAlerts(
  { store, log }: Deps,
  { problems, earlier, models }: { problems: Problem[]; earlier: string[]; models: ReadonlySet<string> },
): Promise<void> {
  for (const { kind, id, ...problem } of problems) {
    const name = modelOf(id)
    const model = name !== undefined && models.has(name) ? name : undefined
    await upsertAlert(store, { ...problem, kind, model, dedupeKey: `${kind}/${id}` })
    // A problem lasts for many rounds.
    if (!earlier.includes(`${kind}/${id}`)) log.warn({ kind, id }, problem.message)
  }
  const raised = new Set(problems.map(({ kind, id }) => `${kind}/${id}`))
  for (const key of earlier)
    if (!raised.has(key))
      await resolveAlert(store, key, 'the last check of workflows and schedules has found it as it must be')
}

const blockedPrefix = 'workflow_blocked/' satisfies `${AlertKind}/`

/** Resolves the alert about a workflow that has left a command unanswered, when its release has ended. */
async function closeAnswered(store: Store, open: readonly string[]): Promise<void> {
  for (const key of open.filter((each) => each.startsWith(unansweredPrefix)))
    if ((await findRelease(store, key.slice(unansweredPrefix.length)))?.endedAt !== undefined)
      await resolveAlert(store, key, 'the release has ended')
}

/** `monitor/iris`, `schedule/retrain/iris`, `schedule/score/iris/daily` → `iris`. */
const modelOf = (id: string): string | undefined =>
  /(?:^|\/)(?:(?:monitor|retrain|trigger|drill|release|queue|rollback)\/([^/]+)|score\/([^/]+)\/[^/]+)$/
    .exec(id)
    ?.slice(1)
    .find((name) => name !== undefined)

// Raises an alert while a resource differs from what `tenure apply` wrote. Kill switches are left out, because they are meant to be set by
// hand. Schedules have their own alert.

const dedupeKey = 'changed_by_hand'
const maxNamed = 10

/** Returns the addresses of the changed resources. */
export async function reportChangedByHand(store: Store): Promise<string[]> {
  const applied = (await listApplied(store)).filter(
    ({ kind }) => kind !== 'killSwitch' && kind !== 'schedule',
  )
  const live = applied.length === 0 ? [] : await readLiveState(store)
  const found = changedSince(applied, live)
  const changed = found.map(addressOf)
  if (changed.length === 0) {
    await resolveAlert(store, dedupeKey, 'all resources are as the last `tenure apply` wrote them')
    return []
  }
  const more = changed.length > maxNamed ? `, and ${changed.length - maxNamed} more` : ''
  await upsertAlert(store, {
    dedupeKey,
    severity: 'warning',
    kind: 'changed_by_hand',
    cause: changed.join(', '),
    message: `Changed since the last \`tenure apply\`: ${found.slice(0, maxNamed).map(textOfChanged).join(', ')}${more}. \`tenure plan\` shows how. Take the change into the state file or the model file and run \`tenure apply\`, or apply them as they are.`,
    evidence: { changed },
  })
  return changed
}
