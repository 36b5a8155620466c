/** Reads what a comparison of versions needs. */
import type { ComparedVersion } from '../../domain/registry/version-diff.ts'
import type { Database } from '../../store/postgres.ts'
import { findTrainingRun } from '../../store/training/training-search.ts'
import { findStatus } from '../../store/registry/version-search.ts'
import type { Version } from '../../store/registry/versions.ts'

export async function comparedOf(store: Database, version: Version): Promise<ComparedVersion> {
  const [training, status] = await Promise.all([
    findTrainingRun(store, version.trainingId),
    findStatus(store, version.version),
  ])
  const { model, createdAt, createdBy, lineage, manifest } = version
  return {
    version: version.version,
    model,
    status: status ?? 'registered',
    createdAt,
    createdBy,
    lineage,
    manifest,
    training: {
      epochs: training?.epoch ?? 0,
      dependencies: training?.dependencies ?? {},
      loss: training?.loss === undefined ? undefined : training.loss,
      durationMs: training?.durationMs === undefined ? undefined : training.durationMs,
      buildId: training?.buildId === undefined ? undefined : training.buildId,
    },
  }
}
