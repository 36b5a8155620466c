/** Reads the model card of a version. */
import { modelCard, type CardSource, type ModelCard } from '../../domain/registry/model-card.ts'
import { findEvaluation } from '../../store/training/evaluations.ts'
import { findTrainingRun, type TrainingRun } from '../../store/training/trainings.ts'
import { findModel } from '../../store/registry/models.ts'
import type { Database } from '../../store/postgres.ts'
import { listReleasesOfVersion, type Release } from '../../store/release/releases.ts'
import { findLoadTest } from '../../store/registry/load-tests.ts'
import { findStatus, type Version } from '../../store/registry/versions.ts'

export async function readCard(
  database: Database,
  version: Version,
): Promise<{ card: ModelCard; source: CardSource; training?: TrainingRun; releases: Release[] }> {
  const [status, model, evaluation, training, releases, loadTest] = await Promise.all([
    findStatus(database, version.version),
    findModel(database, version.model),
    findEvaluation(database, version.evaluationId),
    findTrainingRun(database, version.trainingId),
    listReleasesOfVersion(database, version.version),
    findLoadTest(database, version.version),
  ])
  const { about, owner, release } = model?.definition ?? {}
  const source: CardSource = {
    ...version,
    status: 'registered',
    ...status,
    about,
    owner,
    risk: release?.risk,
    cost: releases.find(({ state }) => state.cost !== undefined)?.state.cost,
    loadTest,
    evaluation,
    dependencies: training?.dependencies,
  }
  return { card: modelCard(source), source, training, releases }
}
