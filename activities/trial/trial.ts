/** Opens and closes a trial: a training that is evaluated, registers nothing and may run beside a retraining. */
import { canonicalJson } from '../../domain/canonical-json.ts'
import { DomainError } from '../../domain/errors.ts'
import { notTrainedHere } from '../../domain/model/brought-artifact.ts'
import { requireOverrides } from '../../domain/training/overrides.ts'
import {
  findSweep,
  closeTrial,
  findTrial,
  giveUpTrialArtifact,
  insertTrial,
  type TrialEnd,
} from '../../store/training/sweeps.ts'
import { getModel } from '../../store/registry/models.ts'
import { endTraining, findTraining } from '../../store/training/trainings.ts'
import type { TrialRequest } from '../../workflows/messages.ts'
import type { Deps } from '../deps.ts'
import { requireStart } from '../runtime/claim-start.ts'
import { trainingQueues, type TrainingQueues } from '../trainers/queue-training.ts'

export interface OpenTrialInput {
  trainingId: string
  /** ISO 8601: the time of the order, or the start. */
  asOf: string
  /** The input of the workflow as it was sent. */
  order: TrialRequest
}

/** Throws `model_not_found`, `invalid_request` for overrides that do not fit, and `forbidden` for a start without a command. */
export const openTrial =
  (deps: Deps) =>
  async ({ trainingId, asOf, order }: OpenTrialInput): Promise<TrainingQueues> => {
    const { store, log } = deps
    const { id, model, requestedBy } = order
    const sweepId = await sweepOf(store, order, asOf)
    if (sweepId === undefined) await requireStart(store, { kind: 'trial', given: order })
    const { definition } = await getModel(store, model)
    if (definition.isBrought === true) throw notTrainedHere(model)
    requireOverrides(definition, order.overrides)
    const overrides = order.overrides ?? {}
    await insertTrial(store, { id, model, sweepId, requestedBy, asOf, overrides, trainingId })
    if ((await findTrial(store, id))?.trainingId !== trainingId)
      throw new DomainError('invalid_request', `the trial ${id} has run already`)
    log.info({ trial: id, model, asOf, overrides }, 'trial opened')
    return trainingQueues(deps, definition)
  }

/** The open sweep that asks for this trial; undefined for a standalone trial. */
async function sweepOf(store: Deps['store'], order: TrialRequest, asOf: string): Promise<string | undefined> {
  const { sweep, snapshotDigest, order: _none, ...asked } = order
  if (sweep === undefined) return undefined
  const found = await findSweep(store, sweep.id)
  const planned = found && {
    id: `try_${found.id}_${sweep.place}`,
    model: found.model,
    requestedBy: found.requestedBy,
    asOf: found.asOf,
    overrides: found.plan.candidates[sweep.place],
  }
  const isAsked =
    found?.endedAt === undefined &&
    found?.snapshotDigest === snapshotDigest &&
    snapshotDigest !== undefined &&
    canonicalJson(planned) === canonicalJson({ ...asked, asOf })
  if (!isAsked) throw new DomainError('forbidden', `the sweep ${sweep.id} has requested no such trial`)
  return sweep.id
}

/** Records the end, ends a training that still runs, and gives up the artifact. */
export const endTrial =
  ({ store, log }: Deps) =>
  async (end: TrialEnd): Promise<void> => {
    await closeTrial(store, end)
    const { id, outcome, message } = end
    const trainingId = (await findTrial(store, id))?.trainingId
    const training = trainingId === undefined ? undefined : await findTraining(store, trainingId)
    if (training?.status === 'running')
      await endTraining(store, { id: training.id, attempt: training.attempts, status: 'failed', message })
    const removed = await giveUpTrialArtifact(store, id)
    log.info({ trial: id, outcome, message, removed }, 'trial ended')
  }
