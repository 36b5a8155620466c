/** Opens and closes a trial: a training that is evaluated, registers nothing and may run beside a retraining. */
import { canonicalJson } from '../../domain/canonical-json.ts'
import { DomainError } from '../../domain/errors.ts'
import { notTrainedHere } from '../../domain/model/brought-artifact.ts'
import { endingOfTrial, type TrialEnding } from '../../domain/training/endings.ts'
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
import type { TrialRequest } from '../../workflows/messages.ts'
import type { Deps } from '../deps.ts'
import { requireStart } from '../runtime/claim-start.ts'
import { trainingQueues, type TrainingQueues } from '../trainers/queue-training.ts'

export interface OpenTrialInput {
  /** The first run of its workflow. */
  runId: string
  /** ISO 8601: the time of the order, or the start. */
  asOf: string
  /** The input of the workflow as it was sent. */
  order: TrialRequest
}

/** Throws `model_not_found`, `invalid_request` for overrides that do not fit, and `forbidden` for a start without a command. */
export const openTrial =
  (deps: Deps) =>
  async ({
    runId,
    asOf,
    order,
  }: OpenTrialInput): Promise<TrainingQueues & { run: string; isOfSweep: boolean }> => {
    const { store, log } = deps
    const { id, model, requestedBy, snapshotDigest } = order
    const sweepId = await sweepOf(store, order, asOf)
    if (sweepId === undefined) await requireStart(store, { kind: 'trial', given: order })
    const { definition } = await getModel(store, model)
    if (definition.isBrought === true) throw notTrainedHere(model)
    requireOverrides(definition, order.overrides)
    const overrides = order.overrides ?? {}
    const trial = { id, model, sweepId, requestedBy, asOf, overrides, runId }
    if (!(await insertTrial(store, { ...trial, snapshotDigest: sweepId && snapshotDigest })))
      throw new DomainError('invalid_request', `the trial ${id} has run already`)
    log.info({ trial: id, model, asOf, overrides }, 'trial opened')
    return { ...trainingQueues(deps, definition), run: id, isOfSweep: sweepId !== undefined }
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

/** Records the end as the rows of the run say it, ends a training that still runs, and gives up the artifact. */
export const endTrial =
  ({ store, log }: Deps) =>
  async ({ run: id, isCancelled = false }: { run: string; isCancelled?: boolean }): Promise<TrialEnding> => {
    const run = await getRun(store, id)
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
