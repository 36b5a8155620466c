/** Opens and closes a trial: a training that is evaluated, registers nothing and may run beside a retraining. */
import { Context } from '@temporalio/activity'
import { DomainError } from '../../domain/errors.ts'
import { notTrainedHere } from '../../domain/model/brought-artifact.ts'
import { endingOfTrial, type TrialEnding } from '../../domain/training/runs.ts'
import { requireOverrides } from '../../domain/training/overrides.ts'
import {
  findSweep,
  closeTrial,
  findTrial,
  giveUpTrialArtifact,
  insertTrial,
} from '../../store/training/sweeps.ts'
import { getRun, readRunFacts } from '../../store/training/runs.ts'
import { getModel } from '../../store/registry/models.ts'
import { endTraining, findTraining } from '../../store/training/trainings.ts'
import type { TrialStart } from '../../domain/starts.ts'
import { readNow } from '../../store/database/clock.ts'
import type { TrialRequest } from '../../workflows/messages.ts'
import type { Deps } from '../deps.ts'
import { takeStart } from '../runtime/take-start.ts'
import { trainingQueues, type TrainingQueues } from '../trainers/queue-training.ts'

export interface OpenedTrial extends TrainingQueues {
  /** The id of the trial. */
  run: string
  model: string
  isOfSweep: boolean
}

/** Throws `model_not_found`, `invalid_request` for overrides that do not fit, and `forbidden` for a trial that no row asks for. */
export const openTrial =
  (deps: Deps) =>
  async ({ order }: TrialRequest): Promise<OpenedTrial> => {
    const { store, log } = deps
    const { runId } = Context.current().info.workflowExecution!
    const asked: TrialOrder =
      (await orderOfSweep(store, order)) ?? (await takeStart(store, { kind: 'trial', order }))
    const { id, model, requestedBy, overrides = {}, sweepId, snapshotDigest } = asked
    const asOf =
      asked.asOf ?? (await findTrial(store, id))?.asOf ?? new Date(await readNow(store)).toISOString()
    const { definition } = await getModel(store, model)
    if (definition.isBrought === true) throw notTrainedHere(model)
    requireOverrides(definition, overrides)
    const trial = { id, model, sweepId, requestedBy, asOf, overrides, runId, snapshotDigest }
    if (!(await insertTrial(store, trial)))
      throw new DomainError('invalid_request', `the trial ${id} has run already`)
    log.info({ trial: id, model, asOf, overrides }, 'trial opened')
    return { ...trainingQueues(deps, definition), run: id, model, isOfSweep: sweepId !== undefined }
  }

type TrialOrder = TrialStart & { requestedBy: string; sweepId?: string; snapshotDigest?: string }

/** The trial of an open sweep, `try_<sweep>_<index of the candidate>`, which has taken its rows; undefined for another order. */
async function orderOfSweep(store: Deps['store'], order: string): Promise<TrialOrder | undefined> {
  const [, sweepId, place = ''] = /^try_(swp_.+)_(\d+)$/.exec(order) ?? []
  const found = sweepId === undefined ? undefined : await findSweep(store, sweepId)
  const overrides = found?.plan.candidates[Number(place)]
  if (found?.snapshotDigest === undefined || found.endedAt !== undefined || overrides === undefined)
    return undefined
  const { model, requestedBy, asOf, snapshotDigest } = found
  return { id: order, model, requestedBy, asOf, overrides, sweepId, snapshotDigest }
}

/** Records the end as the rows of the run say it, ends a training that still runs, and gives up the artifact. */
export const endTrial =
  ({ store, log }: Deps) =>
  async ({ run: id, isCancelled = false }: { run: string; isCancelled?: boolean }): Promise<TrialEnding> => {
    const run = await getRun(store, id, ['trial'])
    const score = (await findTrial(store, id))?.score
    const scored = score === undefined ? undefined : { score, metric: await findPrimary(store, run.model) }
    const ending = endingOfTrial({ ...(await readRunFacts(store, run)), isCancelled, scored })
    await closeTrial(store, { id, ...ending })
    const { outcome, message } = { ...ending, ...(await findTrial(store, id)) }
    const training = await findTraining(store, run.trainingId)
    if (training?.status === 'running')
      await endTraining(store, { id: training.id, attempt: training.attempts, status: 'failed', message })
    const removed = await giveUpTrialArtifact(store, id)
    log.info({ trial: id, outcome, message, removed }, 'trial ended')
    return { ...ending, outcome, message }
  }

const findPrimary = async (store: Deps['store'], model: string): Promise<string> =>
  (await getModel(store, model)).definition.evaluation.policy.primary
