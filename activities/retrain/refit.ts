/**
 * Trains the recipe that the gate has judged again, on all matured rows: takes the rows, and compares the answers of the new weights with
 * those of the judged ones. Between the two, the activities of rows and trainings work on the refit, because the row of the run names it.
 */
import { DomainError } from '../../domain/errors.ts'
import type { RefitCheck } from '../../domain/training/refit.ts'
import { refitRowsOf } from '../../domain/training/rounds.ts'
import { refitIdsOf } from '../../domain/training/runs.ts'
import { bringCopies } from '../../store/objects/artifact-copies.ts'
import { getModel } from '../../store/registry/models.ts'
import { findJudged, recordRefitSnapshot, type Run } from '../../store/training/runs.ts'
import { getSnapshot } from '../../store/training/snapshots.ts'
import { findRefit, getTraining, recordRefitCheck } from '../../store/training/trainings.ts'
import type { RefitJob } from '../evaluation/evaluator.ts'
import type { Deps } from '../deps.ts'
import { withHeartbeat } from '../runtime/heartbeat.ts'
import { runJob } from '../runtime/run-job.ts'
import { takeSnapshot } from './snapshot.ts'

/** Takes all matured rows once. Throws `forbidden` unless the gate has passed and the model file asks for a refit. */
export const takeRefitRows =
  (deps: Deps) =>
  async (run: Run): Promise<void> => {
    const { id, model, asOf, artifact, trainingId, evaluationId, refitSnapshotDigest } = run
    if (refitSnapshotDigest !== undefined) return
    const { store } = deps
    const { definition } = await getModel(store, model)
    const verdict = (await findJudged(store, evaluationId))?.verdict
    if (
      definition.refit === undefined ||
      artifact !== undefined ||
      (verdict !== 'better' && verdict !== 'not_worse')
    )
      throw new DomainError('forbidden', `${id} is not refitted`)
    const rows = refitRowsOf(definition, await getTraining(store, trainingId))
    const { digest } = await takeSnapshot(deps)({ model, asOf, refit: rows })
    await recordRefitSnapshot(store, { run: id, digest })
  }

/** Stores how the refitted weights answer the test rows. Throws `training_failed` for weights that may not become a version. */
export const checkRefit =
  ({ store, artifacts, config, log }: Deps) =>
  async ({ id, model, trainingId }: Run): Promise<void> => {
    const { definition } = await getModel(store, model)
    const judged = await getTraining(store, trainingId)
    const refit = await findRefit(store, trainingId)
    const { artifactDigest, snapshotDigest } = judged
    if (definition.refit === undefined || artifactDigest === undefined || refit?.artifactDigest === undefined)
      throw new DomainError('forbidden', `${id} has no refitted weights`)
    if (refit.check === undefined) {
      const digests = [artifactDigest, refit.artifactDigest]
      await withHeartbeat(() => bringCopies(artifacts, { snapshot: snapshotDigest, artifacts: digests }))
      const { rows } = await getSnapshot(store, snapshotDigest)
      const job: RefitJob = {
        kind: 'refit',
        definition,
        snapshotDigest,
        artifactRoot: config.artifactRoot,
        challenger: artifactDigest,
        refitted: refit.artifactDigest,
        policy: definition.refit,
      }
      const check = await runJob<RefitCheck>({
        what: 'the check of the refit',
        file: 'activities/evaluation/evaluator.ts',
        job,
        limitMb: config.trainingMemoryMb,
        rows,
      })
      await recordRefitCheck(store, refit.id, check)
    }
    const { check } = (await findRefit(store, trainingId)) ?? {}
    log.info({ model, training: refitIdsOf(id).trainingId, ...check }, 'refit checked')
    if (check?.issue !== undefined) throw new DomainError('training_failed', check.issue)
  }
