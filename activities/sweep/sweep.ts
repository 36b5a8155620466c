/** Opens and closes a sweep, scores its trials on the validation rows and chooses the best trial. */
import { DomainError } from '../../domain/errors.ts'
import { higherIsBetter } from '../../domain/evaluation/metrics.ts'
import { counted, metricName } from '../../domain/figures.ts'
import { notTrainedHere } from '../../domain/model/brought-artifact.ts'
import { issuesOfOverrides, type HyperparameterValues } from '../../domain/training/overrides.ts'
import { requireValidation } from '../../domain/training/require-validation.ts'
import { bestTrial, maxSweepParallel, maxSweepTrials } from '../../domain/training/sweep-plan.ts'
import { digestOfJson } from '../../store/artifacts.ts'
import { getModel } from '../../store/registry/models.ts'
import {
  closeSweep,
  findSweep,
  insertSweep,
  listTrialsOf,
  updateSweepSnapshot,
  recordWinner,
  type SweepEnd,
} from '../../store/training/sweeps.ts'
import { bringCopies } from '../../store/objects/artifact-copies.ts'
import { getTraining } from '../../store/training/trainings.ts'
import type { SweepRequest } from '../../workflows/messages.ts'
import type { Deps } from '../deps.ts'
import { requireStart } from '../runtime/claim-start.ts'
import { withHeartbeat } from '../runtime/heartbeat.ts'
import { runJob } from '../runtime/run-job.ts'
import type { ScoreJob, TrialScore } from '../tensorflow/evaluator.ts'

/** Throws `invalid_request` for candidates that do not fit the model, and `forbidden` for a start without a command. */
export const openSweep =
  (deps: Deps) =>
  async ({ asOf, order }: { asOf: string; order: SweepRequest }): Promise<void> => {
    const { store, log } = deps
    const { id, model, requestedBy, candidates, parallel } = order
    await requireStart(store, { kind: 'sweep', given: order })
    const { definition } = await getModel(store, model)
    if (definition.isBrought === true) throw notTrainedHere(model)
    requireValidation(definition)
    const issues = candidates.flatMap((candidate) => issuesOfOverrides(definition, candidate))
    if (candidates.length === 0 || candidates.length > maxSweepTrials)
      issues.push(`a sweep has 1 to ${maxSweepTrials} trials, not ${candidates.length}`)
    if (!Number.isInteger(parallel) || parallel < 1 || parallel > maxSweepParallel)
      issues.push(`"parallel" is a whole number from 1 to ${maxSweepParallel}, not ${parallel}`)
    if (issues.length > 0) throw new DomainError('invalid_request', issues.join('; '), { issues })
    await insertSweep(store, { id, model, requestedBy, asOf, plan: { candidates, parallel } })
    log.info({ sweep: id, model, asOf, trials: candidates.length, parallel }, 'sweep opened')
  }

export const recordSweepSnapshot =
  ({ store }: Deps) =>
  (snapshot: { id: string; snapshotDigest: string }): Promise<void> =>
    updateSweepSnapshot(store, snapshot)

/** The primary metric of a trained artifact on the validation rows. Throws `training_failed` when the metric is undefined. */
export const scoreTrial =
  ({ store, artifacts, config, log }: Deps) =>
  async ({
    model,
    trainingId,
  }: {
    model: string
    trainingId: string
  }): Promise<{ score: number; metric: string }> => {
    const { definition } = await getModel(store, model)
    const { artifactDigest, snapshotDigest } = await getTraining(store, trainingId)
    if (artifactDigest === undefined)
      throw new DomainError('internal', `the training ${trainingId} has no artifact to score`)
    const { artifactRoot } = config
    const job: ScoreJob = {
      kind: 'score',
      definition,
      snapshotDigest,
      artifactRoot,
      challenger: artifactDigest,
    }
    await withHeartbeat(() =>
      bringCopies(artifacts, { snapshot: snapshotDigest, artifacts: [artifactDigest] }),
    )
    const { score, issue } = await runJob<TrialScore>({
      what: 'the scoring of a trial',
      file: 'activities/tensorflow/evaluator.ts',
      job,
      limitMb: config.trainingMemoryMb,
      keptFor: digestOfJson(definition),
    })
    const metric = definition.evaluation.policy.primary
    if (score === null)
      throw new DomainError(
        'training_failed',
        `${metric} on the validation rows is undefined${issue === undefined ? '' : `: ${issue}`}`,
      )
    log.info({ model, training: trainingId, metric, score }, 'trial scored')
    return { score, metric }
  }

export interface ChosenTrial {
  /** Absent when no trial has a score. */
  winner?: HyperparameterValues
  message: string
}

/** Stores and returns the overrides with the best score. The stored row later proves that the retraining belongs to this sweep. */
export const chooseWinner =
  ({ store, log }: Deps) =>
  async ({ id, model }: { id: string; model: string }): Promise<ChosenTrial> => {
    const { primary } = (await getModel(store, model)).definition.evaluation.policy
    const trials = await listTrialsOf(store, id)
    const best = bestTrial(trials, higherIsBetter(primary))
    const scored = trials.filter(({ score }) => score !== undefined).length
    if (best === undefined) {
      const [first] = trials
      return {
        message: `none of ${trials.length} trials has a score${first?.message === undefined ? '' : `; the first: ${first.message}`}`,
      }
    }
    await recordWinner(store, { id, winner: best.overrides })
    const { winner = best.overrides } = (await findSweep(store, id)) ?? {}
    const named = Object.entries(winner).map(([name, value]) => `${name} ${value}`)
    const message = `${named.join(', ')}: ${metricName(primary)} ${best.score?.toPrecision(4)} on the validation rows, the best of ${scored} scored among ${counted(trials.length, 'trial')}`
    log.info({ sweep: id, model, winner }, message)
    return { winner, message }
  }

export const endSweep =
  ({ store, log }: Deps) =>
  async (end: SweepEnd): Promise<void> => {
    await closeSweep(store, end)
    log.info({ sweep: end.id, outcome: end.outcome }, end.message)
  }
