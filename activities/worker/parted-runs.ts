/**
 * Ends rows that are open without a running workflow, and runs that are open although their row has ended or was never written. Either
 * blocks later runs of the model for days: the row by being the open one, the run by its workflow id.
 */
import { WorkflowNotFoundError, type Client } from '@temporalio/client'
import { reasonOf } from '../../domain/errors.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import {
  findParted,
  runKinds,
  runPrefixes,
  type ClosedAlone,
  type OpenRun,
  type RunKindName,
  type StrayRun,
} from '../../store/maintenance/expected-work.ts'
import { listOpenAlertKeys, lockAlert, resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import { endInterrupted } from '../../store/release/end-release.ts'
import { closeAbandonedDrills } from '../../store/release/drills.ts'
import { describeRunIn, listOpenExecutions } from '../../workflows/client/inspect.ts'
import { callMs } from '../../workflows/client/schedules.ts'
import type * as workflows from '../../workflows/index.ts'
import { failBatch } from '../batch/batch.ts'
import type { Deps } from '../deps.ts'
import { recordFailure } from '../../store/training/runs.ts'
import { endRetraining } from '../retrain/retraining.ts'
import { endSweep } from '../sweep/sweep.ts'
import type { Database } from '../../store/postgres.ts'
import { endTrial } from '../trial/trial.ts'

/** Check interval. Two consecutive checks must agree, so a row without a run is closed within twice this time. */
export const sweepMs = 15_000

/** How long a run must be observed without an open row before it is cancelled, and then terminated. */
export interface SweepPolicy {
  /** After the end of its row: a run lives on for a moment. */
  endedMs: number
  /** Without any row: an opening activity may wait for a free worker. */
  unwrittenMs: number
  /** From the cancellation to the termination: activities stop at their next heartbeat. */
  cancelledMs: number
  /** Runs that are ended per round. */
  maxEnded: number
}
const defaultPolicy: SweepPolicy = {
  endedMs: 60_000,
  unwrittenMs: 300_000,
  cancelledMs: 60_000,
  maxEnded: 20,
}

export interface Swept {
  /** The ids of the closed rows. */
  closed: string[]
  /** The ids of the workflows that were cancelled or terminated. */
  cancelled: string[]
  terminated: string[]
}

/** What this process has observed of a stray run. */
interface Sighting {
  sinceMs: number
  cancelledMs?: number
}

/** Runs one check per call. */
export function createSweep(
  deps: Deps,
  client: Client,
  changes: Partial<SweepPolicy> = {},
): () => Promise<Swept> {
  const { store, config, log } = deps
  const policy = { ...defaultPolicy, ...changes }
  const taskQueue = config.taskQueues.control
  const describeRun = describeRunIn(client.workflowService, client.options.namespace)
  const describe: typeof describeRun = (run) =>
    client.withDeadline(Date.now() + callMs, () => describeRun(run))
  let suspected = new Set<string>()
  let sightings = new Map<string, Sighting>()

  /** Undefined while the run may still end or open its row by itself. */
  const dueOf = (run: StrayRun, nowMs: number): Did | undefined => {
    const earlier = sightings.get(run.firstRunId)
    if (earlier === undefined) return undefined
    const { sinceMs, cancelledMs } = earlier
    if (cancelledMs !== undefined) return nowMs - cancelledMs >= policy.cancelledMs ? 'terminated' : undefined
    const waitMs = run.row === undefined ? policy.unwrittenMs : policy.endedMs
    return nowMs - sinceMs >= waitMs ? 'cancelled' : undefined
  }

  return async () => {
    const open = await listOpenExecutions(client, taskQueue, runPrefixes)
    const { rows, runs } = await findParted(store, { open, taskQueue, describe })
    const swept: Swept = { closed: [], cancelled: [], terminated: [] }
    const alone = rows.filter(({ id }) => suspected.has(id))
    suspected = new Set(rows.map(({ id }) => id))
    for (const row of alone) if (await closeAlone(deps, row)) swept.closed.push(row.id)

    const nowMs = performance.now()
    const due = runs.flatMap((run) => {
      const did = dueOf(run, nowMs)
      return did === undefined ? [] : [{ run, did }]
    })
    sightings = new Map(
      runs.map(({ firstRunId }) => [firstRunId, sightings.get(firstRunId) ?? { sinceMs: nowMs }]),
    )
    for (const { run, did } of due.slice(0, policy.maxEnded)) {
      const { workflowId, firstRunId, kind, row } = run
      await store.transaction((database) => record(database, run, did))
      log.warn({ workflowId, run: firstRunId, kind, row: row?.id }, `workflow without an open row ${did}`)
      await client.withDeadline(Date.now() + callMs, () => end(client, run, did))
      if (did === 'cancelled') sightings.set(firstRunId, { sinceMs: nowMs, cancelledMs: nowMs })
      swept[did].push(workflowId)
    }
    const present = new Set([...rows.map(({ workflowId }) => keyOf(workflowId)), ...runs.map(keyOfRun)])
    for (const key of await listOpenAlertKeys(store, ['workflow_orphaned']))
      if (!present.has(key)) await resolveAlert(store, key, 'the row and its workflow have ended')
    return swept
  }
}

type Did = 'cancelled' | 'terminated'

async function end(client: Client, { workflowId, firstRunId, row }: StrayRun, did: Did): Promise<void> {
  const handle = client.workflow.getHandle(workflowId, undefined, { firstExecutionRunId: firstRunId })
  const why = row === undefined ? 'it has no row' : `its row ${row.id} has ended`
  await (did === 'cancelled' ? handle.cancel() : handle.terminate(why)).catch((error: unknown) => {
    // It has ended in the meantime.
    if (!(error instanceof WorkflowNotFoundError)) throw error
  })
}

/** An id that the database does not know may be any text, which an alert must not spread. */
const nameOf = ({ workflowId, row, model }: StrayRun): string | undefined =>
  row === undefined && model === undefined ? undefined : workflowId

const keyOf = (name: string): string => `workflow_orphaned/${name}`
const keyOfRun = (run: StrayRun): string => keyOf(nameOf(run) ?? runKinds[run.kind].prefix)

/** Writes an audit row and an alert, once however many workers see the run. */
async function record(database: Database, run: StrayRun, did: Did): Promise<void> {
  const { kind, firstRunId, row, model, startedMs } = run
  const dedupeKey = keyOfRun(run)
  const earlier = (await lockAlert(database, dedupeKey))?.['runs'] as Record<string, Did> | undefined
  const done = earlier?.[firstRunId]
  if (done === did || done === 'terminated') return
  const name = nameOf(run)
  const what =
    name === undefined
      ? `A workflow of the type ${runKinds[kind].type} (run ${firstRunId})`
      : `The workflow ${name}`
  const found =
    row === undefined
      ? `has been open without a row since ${new Date(startedMs).toISOString()}`
      : `is still open, although the row of the ${kind} ${row.id} ended at ${row.endedAt}`
  const effect =
    model === undefined || runKinds[kind].ids === 'exact'
      ? ''
      : ` Until it ends, no other ${kind} of ${model} can start.`
  const answer =
    did === 'cancelled'
      ? 'It has been cancelled.'
      : 'It did not end when it was cancelled, so it has been terminated.'
  await upsertAlert(database, {
    dedupeKey,
    kind: 'workflow_orphaned',
    severity: 'critical',
    model,
    cause: name === undefined ? did : `${firstRunId}/${did}`,
    message: `${what} ${found}.${effect} ${answer}`,
    evidence: { workflow: name, row: row?.id, runs: { ...earlier, [firstRunId]: did } },
  })
  await appendAudit(database, {
    actor: 'system',
    action: `workflow.${did}`,
    subject: name ?? firstRunId,
    model,
    detail: { run: firstRunId, kind, row: row?.id ?? null, rowEndedAt: row?.endedAt ?? null },
  })
}

const endedOutside = 'its workflow was ended from outside'

/** How a row without a run is closed. `isTold`: closing it raises an alert. */
const closers: Record<
  ClosedAlone,
  { isTold: boolean; close: (deps: Deps, row: OpenRun) => Promise<unknown> }
> = {
  release: {
    isTold: true,
    close: ({ store }, { id }) => store.transaction((database) => endInterrupted(database, id)),
  },
  retraining: {
    isTold: true,
    async close(deps, { id, model }) {
      await recordFailure(deps.store, id, {
        message: `${endedOutside}; start it again: tenure retrain ${model}`,
      })
      await endRetraining(deps)({ run: id })
    },
  },
  drill: {
    isTold: true,
    async close({ store }, { id, model, drill = '' }) {
      await closeAbandonedDrills(store, [id])
      await upsertAlert(store, {
        dedupeKey: `drill_not_held/${model}/${drill}`,
        model,
        severity: 'warning',
        kind: 'drill_not_held',
        message: `The drill "${drill}" of ${model} did not run to its end: ${endedOutside}`,
        evidence: { drill: id },
      })
    },
  },
  trial: {
    isTold: false,
    async close(deps, { id }) {
      await recordFailure(deps.store, id, { message: endedOutside })
      await endTrial(deps)({ run: id })
    },
  },
  sweep: {
    isTold: false,
    async close(deps, { id }) {
      await recordFailure(deps.store, id, { message: endedOutside })
      await endSweep(deps)({ run: id })
    },
  },
  batch: {
    isTold: false,
    async close(deps, { id }) {
      await recordFailure(deps.store, id, { message: endedOutside })
      await failBatch(deps)({ id })
    },
  },
}

/** Returns whether the row is closed. One that cannot be closed must not keep the others open. */
async function closeAlone(deps: Deps, row: OpenRun): Promise<boolean> {
  const { store, log } = deps
  const { kind, id, model, workflowId } = row
  const { isTold, close } = closers[kind]
  const failed = await close(deps, row).then(
    () => undefined,
    (error: unknown) => reasonOf(error),
  )
  log.warn({ kind, id, model, failed }, `row without a workflow: ${endedOutside}`)
  if (isTold && failed === undefined) return true
  await upsertAlert(store, {
    dedupeKey: keyOf(workflowId),
    kind: 'workflow_orphaned',
    severity: 'critical',
    model,
    message: `The row of the ${kind} ${id} was open, but its workflow ${workflowId} does not run. ${failed === undefined ? 'The row has been closed.' : `The row cannot be closed: ${failed}.`}`,
    evidence: { workflow: workflowId, row: id },
  })
  return failed === undefined
}

/** Workflows without a row. */
type WithoutRow = 'alertDispatch' | 'fireTriggers' | 'loadFiles' | 'loadTest' | 'retention' | 'warmUp'

/** A new type of workflow belongs to `runKinds` or to those without a row. */
type Undecided = Exclude<keyof typeof workflows, WithoutRow | (typeof runKinds)[RunKindName]['type']>
true satisfies [Undecided] extends [never] ? true : Undecided
