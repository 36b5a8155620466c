/** Applies a plan. The API changes its own resources; this process syncs the models, as `tenure models sync` does. */
import type { ResourceChange, ResourceKind } from '../../domain/installation/resource.ts'
import type { Client } from '../client/client.ts'
import { syncFromCheckout } from '../sync/sync-models.ts'
import type { MadePlan } from './make-plan.ts'
import { postChanges } from './post-changes.ts'
import { changeSchedules } from './schedules.ts'

export interface AppliedPlan {
  changes: {
    kind: ResourceKind
    name: string
    action: 'added' | 'changed' | 'deleted'
    key?: string
    problems?: string[]
  }[]
}

/**
 * Applies a plan. The API records each change before this process makes it, so that a killed apply leaves no change without an audit row.
 * Throws `plan_stale` if the installation has changed since the plan was made.
 */
export async function applyPlan(api: Client, plan: MadePlan, reason: string): Promise<AppliedPlan> {
  const { changes, named, isRecorded } = plan
  if (changes.length === 0 && isRecorded) return { changes: [] }
  const isMadeHere = ({ kind }: ResourceChange) => kind === 'model' || kind === 'schedule'
  const [here, there] = [changes.filter(isMadeHere), changes.filter((each) => !isMadeHere(each))]
  const post = (some: readonly ResourceChange[], more: object = {}) =>
    postChanges<AppliedPlan>(api, some, { reason, ...more })
  const recorded = here.length === 0 ? [] : (await post(here)).changes
  if (here.some(({ kind }) => kind === 'model')) await syncModelsOf(plan)
  await changeSchedules(
    here.filter(({ kind }) => kind === 'schedule'),
    reason,
  )
  const made = await post(there, { named })
  return { changes: [...recorded, ...made.changes] }
}

async function syncModelsOf({ changes, named, prune }: MadePlan): Promise<void> {
  const models = new Set(named.flatMap(({ kind, name }) => (kind === 'model' ? [name] : [])))
  const pruned = changes.flatMap(({ kind, name, after }) =>
    kind === 'model' && after === undefined ? [name] : [],
  )
  await syncFromCheckout({ models, gone: prune ? pruned : [] })
}
