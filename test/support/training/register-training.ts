/** Registers the version of a training that a test has run by itself: stores the retraining and the validation that it lacks. */
import sql from 'sql-template-tag'
import type { Deps } from '../../../activities/deps.ts'
import { register, type RegisterResult } from '../../../activities/retrain/register.ts'
import { getTraining } from '../../../store/training/trainings.ts'
import { insertValidation } from '../../../store/training/snapshots.ts'

export async function registerTraining(
  deps: Deps,
  { model, ...ids }: { model: string; trainingId: string; evaluationId: string },
): Promise<RegisterResult> {
  const { store } = deps
  const { trainingId } = ids
  const { snapshotDigest } = await getTraining(store, trainingId)
  const id = `retrain/${model}/${trainingId}`
  const validationId = `val_${trainingId}`
  await store.query(sql`
    insert into retrainings (id, model, reason, requested_by, as_of, snapshot_digest, outcome, message, ended_at)
    select ${id}, ${model}, 'manual', 'test', as_of, digest, 'registered', '', now() from snapshots where digest = ${snapshotDigest}
    on conflict do nothing`)
  await insertValidation(store, { id: validationId, model, snapshotDigest, verdict: 'pass', report: {} })
  return register(deps)({ id, model, snapshotDigest, validationId, ...ids })
}
