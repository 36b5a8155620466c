/**
 * Restarts the workflows and schedules that must always run, and raises an alert for one that was ended, deleted, paused or blocked from
 * outside. Otherwise a model would stay without monitoring, retraining or alerts, unnoticed.
 */
import type { Client } from '@temporalio/client'
import type { AlertKind } from '../../domain/monitoring/alert-kinds.ts'
import { reasonOf } from '../../domain/errors.ts'
import { listOpenRuns, readDuties, type OpenRun } from '../../store/maintenance/duties.ts'
import { listOpenAlertKeys, resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import { closeAbandonedDrills } from '../../store/release/drills.ts'
import { inParallel } from '../../temporal/in-parallel.ts'
import {
  findBlocked,
  findMissingWorkflows,
  inspectSchedules,
  listOpenWorkflows,
} from '../../temporal/inspect.ts'
import { callMs, schedulesOf, upsertSchedule } from '../../temporal/schedules.ts'
import { standingWorkflows, startStanding } from '../../temporal/standing-workflows.ts'
import { failBatch } from '../batch/batch.ts'
import type { Deps } from '../deps.ts'
import { alertRetraining, endRetraining } from '../retrain/record.ts'
import { endSweep } from '../sweep/sweep.ts'
import { endTrial } from '../trial/trial.ts'
import { reportChangedByHand } from './changed-by-hand.ts'

/** Workflows described per round; the next round continues with the others. */
const defaultMaxDescribed = 200

export interface Round {
  /** Workflow ids and schedule ids that were started or created again. */
  restored: string[]
  paused: string[]
  blocked: string[]
  /** Rows closed because no workflow works on them. */
  closed: string[]
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
  const { store, config, log } = deps
  const taskQueue = config.taskQueues.control
  let suspected = new Set<string>()
  let described = 0

  const round = async (): Promise<Round> => {
    const duties = await readDuties(store)
    const removed = new Set(duties.removed)
    const wanted = {
      workflows: standingWorkflows({ ...duties, models: duties.models.map(({ name }) => name) }),
      schedules: schedulesOf(
        { ...duties, models: duties.models.filter(({ name }) => !removed.has(name)) },
        taskQueue,
      ),
    }
    const models = new Set(duties.models.map(({ name }) => name))
    const open = await listOpenWorkflows(client, taskQueue)
    const workflows = await findMissingWorkflows(client, wanted.workflows, open)
    const schedules = await inspectSchedules(client, wanted.schedules)
    const idle = await findMissingWorkflows(client, await listOpenRuns(store), open)

    const absent = new Set<string>()
    const isCertain = (key: string): boolean => {
      absent.add(key)
      return suspected.has(key)
    }
    const problems: Problem[] = []
    const done: Round = { restored: [], paused: [], blocked: [], closed: [] }
    const restore = async (what: string, id: string, again: () => Promise<void>): Promise<void> => {
      if (!isCertain(`${what} ${id}`)) return
      const failed = await client.withDeadline(Date.now() + callMs, again).then(
        () => undefined,
        (error: unknown) => reasonOf(error),
      )
      problems.push({
        kind: 'workflow_missing',
        id: `${what}/${id}`,
        severity: 'warning',
        message:
          `The ${what} ${id} was not there, although it must be. ` +
          (failed === undefined
            ? 'It has been started again. Find out what ended or deleted it.'
            : `It cannot be started again: ${failed}. Run \`tenure models sync\`.`),
        evidence: { id },
      })
      done.restored.push(id)
    }
    await inParallel(workflows, (each) =>
      restore('workflow', each.workflowId, () => startStanding(client, each, taskQueue)),
    )
    await inParallel(schedules.missing, (each) =>
      restore('schedule', each.scheduleId, () => upsertSchedule(client, each)),
    )
    for (const { scheduleId, note } of schedules.paused) {
      problems.push({
        kind: 'schedule_paused',
        id: scheduleId,
        severity: 'warning',
        message: `The schedule ${scheduleId} is paused (${note || 'no note'}), so it starts nothing. Resume it: temporal schedule toggle --schedule-id ${scheduleId} --unpause --reason "…"`,
        evidence: { schedule: scheduleId, note },
      })
      done.paused.push(scheduleId)
    }
    for (const run of idle)
      if (isCertain(`row ${run.id}`)) {
        await closeRow(deps, run)
        done.closed.push(run.id)
      }
    suspected = absent

    const earlier = await listOpenAlertKeys(store, [
      'workflow_missing',
      'schedule_paused',
      'workflow_blocked',
    ])
    const alerted = earlier.flatMap((key) =>
      key.startsWith(blockedPrefix) ? [key.slice(blockedPrefix.length)] : [],
    )
    const next = [...open.slice(described), ...open.slice(0, described)].slice(0, maxDescribed)
    described = open.length <= maxDescribed ? 0 : (described + maxDescribed) % open.length
    const looked = [...new Set([...alerted, ...next])]
    for (const { workflowId, runId, attempts, cause } of await findBlocked(client, looked)) {
      problems.push({
        kind: 'workflow_blocked',
        id: workflowId,
        severity: 'critical',
        message: `The workflow ${workflowId} cannot go on and answers nothing: its task has failed ${attempts} times (${cause}). If no worker of another build can run it, end it: temporal workflow terminate --workflow-id ${workflowId} --reason "…"`,
        evidence: { workflow: workflowId, run: runId, attempts, cause },
      })
      done.blocked.push(workflowId)
    }
    for (const { kind, id, ...problem } of problems) {
      const name = modelOf(id)
      const model = name !== undefined && models.has(name) ? name : undefined
      await upsertAlert(store, { ...problem, kind, model, dedupeKey: `${kind}/${id}` })
      // A problem lasts for many rounds.
      if (!earlier.includes(`${kind}/${id}`)) log.warn({ kind, id }, problem.message)
    }
    await reportChangedByHand(store)
    const raised = new Set(problems.map(({ kind, id }) => `${kind}/${id}`))
    for (const key of earlier) if (!raised.has(key)) await resolveAlert(store, key)
    return done
  }
  return round
}

const blockedPrefix = 'workflow_blocked/' satisfies `${AlertKind}/`

/** `monitor/iris`, `schedule/retrain/iris`, `schedule/score/iris/daily` → `iris`. */
const modelOf = (id: string): string | undefined =>
  /(?:^|\/)(?:(?:monitor|retrain|trigger|drill|release|queue|rollback)\/([^/]+)|score\/([^/]+)\/[^/]+)$/
    .exec(id)
    ?.slice(1)
    .find((name) => name !== undefined)

const endedOutside = 'its workflow was ended from outside'

/** Closes a row that would otherwise stay open for ever, and returns what to start again. */
async function closeRow(deps: Deps, { kind, id, model, drill = '' }: OpenRun): Promise<void> {
  const { store, log } = deps
  log.warn({ kind, id, model }, `closed: ${endedOutside}`)
  switch (kind) {
    case 'drill':
      await closeAbandonedDrills(store, [id])
      await upsertAlert(store, {
        dedupeKey: `drill_not_held/${model}/${drill}`,
        model,
        severity: 'warning',
        kind: 'drill_not_held',
        message: `The drill "${drill}" of ${model} was not held to its end: ${endedOutside}`,
        evidence: { drill: id },
      })
      return
    case 'retraining': {
      const message = `${endedOutside}; start it again: tenure retrain ${model}`
      await endRetraining(deps)({ id, model, outcome: 'failed', message })
      await alertRetraining(deps)({ model, kind: 'failed', message, evidence: { retrainingId: id } })
      return
    }
    case 'trial':
      return endTrial(deps)({ id, outcome: 'failed', message: endedOutside })
    case 'sweep':
      return endSweep(deps)({ id, outcome: 'failed', message: endedOutside })
    case 'batch':
      return failBatch(deps)({ id, message: endedOutside })
    default:
      return kind satisfies never
  }
}
