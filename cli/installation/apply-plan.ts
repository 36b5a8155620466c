/** Applies a plan. The API changes its own resources; this process syncs the models, as `tenure models sync` does. */
import type { ResourceKind } from '../../domain/installation/resource.ts'
import type { Client } from '../client/client.ts'
import { syncFromCheckout } from '../sync/sync-models.ts'
import type { MadePlan } from './make-plan.ts'
import { postChanges } from './post-changes.ts'

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
 * Applies a plan: syncs the models, each with an audit row, and has the API make all other changes and record what is live then. Throws
 * `plan_stale` if the installation has changed since the plan was made.
 */
export async function applyPlan(api: Client, plan: MadePlan, reason: string): Promise<AppliedPlan> {
  const { changes, named, isRecorded } = plan
  if (changes.length === 0 && isRecorded) return { changes: [] }
  const models = changes.filter(({ kind }) => kind === 'model')
  if (models.length > 0) await syncModelsOf(plan)
  const made = await postChanges<AppliedPlan>(
    api,
    changes.filter(({ kind }) => kind !== 'model'),
    { reason, named: named.map(({ kind, name }) => ({ kind, name })) },
  )
  const synced = models.map(({ kind, name, before, after }) => ({
    kind,
    name,
    action:
      before === undefined
        ? ('added' as const)
        : after === undefined
          ? ('deleted' as const)
          : ('changed' as const),
  }))
  return { changes: [...synced, ...made.changes] }
}

async function syncModelsOf({ changes, named, prune }: MadePlan): Promise<void> {
  const models = new Set(named.flatMap(({ kind, name }) => (kind === 'model' ? [name] : [])))
  const pruned = changes.flatMap(({ kind, name, after }) =>
    kind === 'model' && after === undefined ? [name] : [],
  )
  await syncFromCheckout({ models, gone: prune ? pruned : [] })
}
