/**
 * Deletes a model for good. Refuses while something of it is in progress, and until its kill switch refuses its requests on every replica,
 * so that no replica answers with a version that is deleted.
 */
import { DomainError } from '../../../domain/errors.ts'
import { appendAudit, type Transaction } from '../../../store/audit/audit-log.ts'
import { listViews } from '../../../store/features/feature-views.ts'
import {
  listOpenRows,
  listRemovedModels,
  recordRemovedModels,
  type RunKindName,
} from '../../../store/maintenance/expected-work.ts'
import type { Store } from '../../../store/postgres.ts'
import { countRowsOfModel, deleteModelRows } from '../../../store/registry/deleted-models.ts'
import { getModel, lockModel, type StoredModel } from '../../../store/registry/models.ts'
import { findKillSwitch, issuesOfKillSwitch } from '../../../store/serving/kill-switches.ts'
import { findRouting } from '../../../store/serving/routing.ts'
import type { Actor } from '../../auth/authentication.ts'
import { requireUnscoped } from '../../auth/authorization.ts'
import type { ApiDeps } from '../../deps.ts'

export interface ModelDeletion {
  model: string
  deleted: boolean
  /** Rows by table. */
  rows: Record<string, number>
  /** What has to be done before; empty when nothing has. */
  issues: string[]
}

/** Thousands of versions with their history take seconds, longer than a replica lets a statement take. */
const statementMs = 30_000
/** A few calls to Temporal for each schedule. */
const scheduleMs = 30_000

/** Throws `model_not_found`; `forbidden` for a key of some models; `command_refused` while there are issues, unless it is a dry run. */
export async function deleteModel(
  { store, temporal, authentication, log }: Pick<ApiDeps, 'store' | 'temporal' | 'authentication' | 'log'>,
  actor: Actor,
  { model, isDry }: { model: string; isDry: boolean },
): Promise<ModelDeletion> {
  requireUnscoped(actor, 'deleting a model')
  const stored = await getModel(store, model)
  const issues = await issuesOfDeletion(store, store.leases, stored)
  if (isDry) {
    const rows = await store.transaction((database) => countRowsOfModel(database, model), { statementMs })
    return { model, deleted: false, rows, issues }
  }
  refuse(model, issues)
  const views = (await listViews(store)).filter(({ models }) => models.some((each) => each !== model))
  const unusedViews = (stored.definition.views ?? []).filter(
    ({ digest }) => !views.some((view) => view.digest === digest),
  )
  // Loads the SDK, which a replica avoids until it needs Temporal.
  const { deleteModelSchedules, endDeleted } = await import('../../../workflows/client/model-schedules.ts')
  // Before the rows: a schedule that was left behind would start a workflow of no model for ever.
  await temporal.call(scheduleMs, (client) => deleteModelSchedules(client, stored.definition, unusedViews))
  const rows = await store.transaction(
    async (database) => {
      const locked = await lockModel(database, model)
      if (locked === undefined) await getModel(database, model)
      else refuse(model, await issuesOfDeletion(database, store.leases, locked))
      const counts = await countRowsOfModel(database, model)
      const keys = await deleteModelRows(database, model)
      await recordRemovedModels(
        database,
        (await listRemovedModels(database)).filter((each) => each !== model),
      )
      await appendAudit(database, {
        actor: actor.name,
        action: 'model.purged',
        subject: model,
        model,
        detail: { rows: counts, keys },
      })
      return counts
    },
    { statementMs },
  )
  log.warn({ model, by: actor.name, rows }, 'model deleted')
  await authentication.refresh()
  // Otherwise the monitor ends within an hour, and the log and the files are swept within one.
  await temporal
    .call(scheduleMs, (client) => endDeleted(client, model))
    .catch((error: unknown) => log.warn({ model, error }, 'the retention was not started'))
  return { model, deleted: true, rows, issues: [] }
}

function refuse(model: string, issues: readonly string[]): void {
  if (issues.length > 0)
    throw new DomainError('command_refused', `${model} cannot be deleted yet: ${issues.join('; ')}`, {
      remedy: 'Do what the message names, then delete the model again.',
    })
}

const endOf = (kind: RunKindName, id: string, model: string): string => {
  if (kind === 'release' || kind === 'queue') return `abort it with \`tenure abort ${id}\``
  if (kind === 'retraining') return `cancel it with \`tenure retrainings cancel ${model}\``
  if (kind === 'trial') return `cancel it with \`tenure trials cancel ${model}\``
  if (kind === 'sweep') return `cancel it with \`tenure sweeps cancel ${model}\``
  return 'wait for its end'
}

async function issuesOfDeletion(
  database: Transaction | Store,
  leases: Store['leases'],
  { name: model, filesDigest }: StoredModel,
): Promise<string[]> {
  const issues: string[] = []
  if (filesDigest === undefined && !(await listRemovedModels(database)).includes(model))
    issues.push(
      `the next sync would bring it back: delete its model file in the models folder of the server, then run \`tenure models sync\` there`,
    )
  for (const { kind, id, model: of } of await listOpenRows(database))
    if (of === model && kind !== 'monitor')
      issues.push(`the ${kind} ${id} is in progress: ${endOf(kind, id, model)}`)
  if ((await findRouting(database, model)) === undefined) return issues
  const flag = await findKillSwitch(database, model)
  if (flag?.serve !== 'refuse')
    return [
      ...issues,
      `it serves: switch it off with \`tenure kill-switches set ${model} refuse --reason "…"\``,
    ]
  const behind = await issuesOfKillSwitch({ query: database.query, leases }, flag)
  return [...issues, ...behind.map(({ text }) => `${text}: wait until it has stopped or follows`)]
}
