/** Opens and closes a sweep, scores its trials on the validation rows and chooses the best trial. */
import { DomainError } from '../../domain/errors.ts'
import { hasCustomPrimary, primaryIsHigher } from '../../domain/evaluation/policy.ts'
import { counted, metricName } from '../../domain/figures.ts'
import { notTrainedHere } from '../../domain/model/brought-artifact.ts'
import { issuesOfOverrides, type HyperparameterValues } from '../../domain/training/overrides.ts'
import { requireValidation } from '../../domain/training/require-validation.ts'
import { bestTrial, maxSweepParallel, maxSweepTrials } from '../../domain/training/sweep-plan.ts'
import { endingOfSweep, type SweepEnding, type SweepFacts } from '../../domain/training/runs.ts'
import { findRetrainingOfSweep, findRunningRetraining } from '../../store/training/retrainings.ts'
import { getRun, readRunFacts, type Run } from '../../store/training/runs.ts'
import { getModel } from '../../store/registry/models.ts'
import {
  closeSweep,
  findSweep,
  insertSweep,
  listTrialsOf,
  recordScore,
  recordWinner,
} from '../../store/training/sweeps.ts'
import { bringCopies } from '../../store/objects/artifact-copies.ts'
import { getTraining } from '../../store/training/trainings.ts'
import type { SweepStart } from '../../domain/starts.ts'
import { readNow } from '../../store/database/clock.ts'
import type { SweepRequest } from '../../workflows/messages.ts'
import type { Deps } from '../deps.ts'
import { takeStart } from '../runtime/take-start.ts'
import { withHeartbeat } from '../runtime/heartbeat.ts'
import { withModelFolder } from '../runtime/model-folder.ts'
import { runJob } from '../runtime/run-job.ts'
import { keptForOf, prepareMetrics } from '../evaluation/own-metrics.ts'
import type { ScoreJob, TrialScore } from '../evaluation/evaluator.ts'

export interface OpenedSweep extends Pick<SweepStart, 'id' | 'model' | 'parallel'> {
  asOf: string
  /** How many trials it has. */
  trials: number
}

/** Throws `invalid_request` for candidates that do not fit the model, and `forbidden` for a start without a command. */
export const openSweep =
  (deps: Deps) =>
  async ({ order }: SweepRequest): Promise<OpenedSweep> => {
    const { store, log } = deps
    const asked = await takeStart(store, { kind: 'sweep', order })
    const { id, model, requestedBy, candidates, parallel } = asked
    const asOf =
      asked.asOf ?? (await findSweep(store, id))?.asOf ?? new Date(await readNow(store)).toISOString()
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
    return { id, model, asOf, trials: candidates.length, parallel }
  }

/** Stores the primary metric of a trained artifact on the validation rows. Throws `training_failed` when the metric is undefined. */
export const scoreTrial =
  ({ store, artifacts, config, log }: Deps, { models }: { models?: string } = {}) =>
  async ({ id, model, trainingId }: Run): Promise<void> => {
    const { definition } = await getModel(store, model)
    const { artifactDigest, snapshotDigest } = await getTraining(store, trainingId)
    if (artifactDigest === undefined)
      throw new DomainError('internal', `the training ${trainingId} has no artifact to score`)
    const { artifactRoot } = config
    await withHeartbeat(() =>
      bringCopies(artifacts, { snapshot: snapshotDigest, artifacts: [artifactDigest] }),
    )
    const { score, issue } = await withModelFolder(
      { store },
      { model, folder: models },
      async (modelsDirectory) => {
        const job: ScoreJob = {
          kind: 'score',
          definition,
          snapshotDigest,
          artifactRoot,
          challenger: artifactDigest,
          modelsDirectory,
          metricProgram: hasCustomPrimary(definition.evaluation.policy)
            ? await withHeartbeat(({ signal }) =>
                prepareMetrics({ config, log }, definition, { models: modelsDirectory, signal }),
              )
            : undefined,
        }
        return runJob<TrialScore>({
          what: 'the scoring of a trial',
          file: 'activities/evaluation/evaluator.ts',
          job,
          limitMb: config.trainingMemoryMb,
          keptFor: keptForOf(definition),
        })
      },
    )
    const metric = definition.evaluation.policy.primary
    if (score === null)
      throw new DomainError(
        'training_failed',
        `${metric} on the validation rows is undefined${issue === undefined ? '' : `: ${issue}`}`,
      )
    await recordScore(store, { id, score })
    log.info({ model, training: trainingId, metric, score }, 'trial scored')
  }

/** Stores the overrides with the best score. The stored row later proves that the retraining belongs to this sweep. */
export const chooseWinner =
  ({ store, log }: Deps) =>
  async ({ id, model }: Run): Promise<{ winner?: HyperparameterValues }> => {
    const { policy } = (await getModel(store, model)).definition.evaluation
    const best = bestTrial(await listTrialsOf(store, id), primaryIsHigher(policy))
    if (best === undefined) return {}
    await recordWinner(store, { id, winner: best.overrides })
    const winner = (await findSweep(store, id))?.winner
    log.info({ sweep: id, model, winner }, 'winner chosen')
    return { winner }
  }

/** Records the end as the rows of the sweep say it. */
export const endSweep =
  ({ store, log }: Deps) =>
  async ({
    run: id,
    isCancelled = false,
  }: {
    run: string
    isCancelled?: boolean
  }): Promise<SweepEnding & { retrainingId?: string; version?: string }> => {
    const run = await getRun(store, id, ['sweep'])
    const { model } = run
    const retraining = await findRetrainingOfSweep(store, id)
    const isBusy = (await findRunningRetraining(store, model)) !== undefined
    const ending = endingOfSweep({
      ...(await readRunFacts(store, run)),
      isCancelled,
      chosen: await explainChoice(store, run),
      retraining: retraining ?? (isBusy ? 'busy' : undefined),
    })
    await closeSweep(store, { id, ...ending })
    const { outcome, message } = { ...ending, ...(await findSweep(store, id)) }
    log.info({ sweep: id, outcome }, message)
    return { outcome, message, retrainingId: retraining?.id, version: retraining?.version }
  }

/** The reason for the choice, also for choosing none; undefined before the first trial. */
async function explainChoice(store: Deps['store'], { id, model }: Run): Promise<SweepFacts['chosen']> {
  const trials = await listTrialsOf(store, id)
  const winner = (await findSweep(store, id))?.winner
  const [first] = trials
  if (first === undefined) return undefined
  if (winner === undefined) {
    const why = first.message === undefined ? '' : `; the first: ${first.message}`
    return { isFound: false, message: `none of ${trials.length} trials has a score${why}` }
  }
  const { policy } = (await getModel(store, model)).definition.evaluation
  const best = bestTrial(trials, primaryIsHigher(policy))
  const scored = trials.filter(({ score }) => score !== undefined).length
  const named = Object.entries(winner).map(([name, value]) => `${name} ${value}`)
  return {
    isFound: true,
    message: `${named.join(', ')}: ${metricName(policy.primary)} ${best?.score?.toPrecision(4)} on the validation rows, the best of ${scored} scored among ${counted(trials.length, 'trial')}`,
  }
}
