/** Starts and cancels retrainings, for the API and the dashboard alike. */
import { DomainError, requireFound } from '../../domain/errors.ts'
import { bundleManifest, notTrainedHere, type BroughtArtifact } from '../../domain/model/brought-artifact.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import type { ReleaseDigests } from '../../domain/release/state.ts'
import { startRoles } from '../../domain/roles.ts'
import { rolesOfStart } from '../../domain/starts.ts'
import { idsOfRow, runOfRetraining } from '../../domain/training/runs.ts'
import { requireOverrides, type HyperparameterValues } from '../../domain/training/overrides.ts'
import { requireModelFile } from '../../store/maintenance/expected-work.ts'
import type { Database } from '../../store/postgres.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { getModel, type StoredModel } from '../../store/registry/models.ts'
import { findEvaluation, type Evaluation } from '../../store/training/evaluations.ts'
import { findRetraining, type Retraining } from '../../store/training/retrainings.ts'
import { retrainWorkflowId } from '../../workflows/messages.ts'
import type { Actor } from '../auth/authentication.ts'
import type { CommandDeps } from '../deps.ts'
import { requireModelAccess } from '../auth/authorization.ts'
import { startWorkflow } from '../temporal/start-workflow.ts'
import { recordStart, type StartCommand } from './start-command.ts'
import { requireSoundPolicy } from './start-release.ts'
import { cancelTraining, type CancelDeps } from './training/cancel-training.ts'

export interface StartRetrainingInput {
  model: string
  /** ISO 8601 in UTC. */
  asOf?: string
  reason?: string
  policy?: ReleasePolicy
  /** An artifact to evaluate and release instead of training. Its file has been checked. */
  artifact?: BroughtArtifact
  /** Hyperparameters that replace those of the model file. */
  overrides?: HyperparameterValues
}

export interface StartedRetraining {
  id: string
  model: string
  workflowId: string
  runId: string
}

/** Starts a retraining. Throws `retraining_in_progress` while another retraining of the model runs. */
export const startRetraining: StartCommand<StartRetrainingInput, StartedRetraining> = {
  kind: 'retrain',
  roles: startRoles.retrain,
  async run(deps, actor, { asOf, reason, policy, artifact, overrides, ...input }, { id: requestId }) {
    const { store, temporal, log } = deps
    requireStartRole(actor, artifact)
    const { name: model, definition } = await getTrainable(store, { ...input, artifact })
    requireOverrides(definition, overrides)
    if (policy !== undefined) requireSoundPolicy(policy, definition.release, definition.label.output)
    const evidence = reason === undefined ? undefined : { reason }
    const start = { model, asOf, evidence, policy, artifact, overrides }
    const order = await recordStart(deps, actor, {
      kind: 'retrain',
      request: requestId,
      reason,
      input: start,
    })
    const request = { model, order }
    const workflowId = retrainWorkflowId(model)
    const conflict = () =>
      new DomainError('retraining_in_progress', `${model} is being retrained already`, {
        workflow_id: workflowId,
      })
    const runId = await startWorkflow(temporal, {
      type: 'retrain',
      workflowId,
      request,
      requestId: order,
      conflict,
    })
    const id = `${workflowId}/${runId}`
    log.info({ retraining: id, by: actor.name }, 'retraining started')
    return { id, model, workflowId, runId }
  },
}

/** What an admin orders of a challenger that the gate refused. The digests are those that the admin saw; absent: those of the evaluation. */
export interface RefusedOrder {
  retraining: string
  reason: string | undefined
  digests: Partial<ReleaseDigests>
}

/** The evaluation of a challenger that break-glass may register; in place of it the reason why it may not. */
export async function findRefused(
  { store }: Pick<CommandDeps, 'store'>,
  { id, model, outcome }: Pick<Retraining, 'id' | 'model' | 'outcome'>,
): Promise<Evaluation | string> {
  const { definition } = await getModel(store, model)
  if (definition.evaluation.breakGlass === false)
    return 'its model file forbids it (evaluation.breakGlass: false)'
  const evaluation = await findEvaluation(store, idsOfRow(id).evaluationId)
  const isRefused = outcome === 'not_better' || outcome === 'insufficient'
  if (!isRefused || evaluation === undefined)
    return `the gate has not refused it: it ended as ${outcome ?? 'nothing yet'}`
  const { baselineVersion } = evaluation
  const champion = (await findChampion(store, model))?.version
  return champion === baselineVersion
    ? evaluation
    : `it was compared with ${baselineVersion ?? 'no champion'}, and the champion is ${champion ?? 'none'}`
}

/**
 * Reads the input of the retraining that registers a refused challenger by break-glass. Throws `command_refused` when the gate did not refuse
 * it, when the digests differ or the champion has changed, and when the model file forbids it.
 */
export async function refusedInput(
  { store }: Pick<CommandDeps, 'store'>,
  actor: Actor,
  { retraining, reason = '', digests }: RefusedOrder,
): Promise<StartRetrainingInput> {
  const { model } = requireFound(runOfRetraining(retraining), { what: 'retraining', id: retraining })
  requireModelAccess(actor, model)
  const refuse = (why: string): never => {
    throw new DomainError('command_refused', `${retraining} cannot be registered by break-glass: ${why}`, {
      model,
    })
  }
  const run = requireFound(await findRetraining(store, retraining), { what: 'retraining', id: retraining })
  const found = await findRefused({ store }, run)
  if (typeof found === 'string') return refuse(found)
  if (reason.trim() === '') return refuse('it needs a reason')
  const { artifactDigest: digest, reportDigest } = found
  const { artifact = digest, evaluation: report = reportDigest } = digests
  if (artifact !== digest || report !== reportDigest) return refuse('its digests are not those of the order')
  const refused = { retraining, evaluation: reportDigest }
  return { model, reason, artifact: { file: bundleManifest, digest, bytes: 1, refused } }
}

/** Throws `forbidden` for a version that is code and a key that may not bring code. */
export function requireStartRole(actor: Actor, artifact: Pick<BroughtArtifact, 'file'> | undefined): void {
  const roles = rolesOfStart('retrain', { artifact })
  if (!roles.includes(actor.role))
    throw new DomainError(
      'forbidden',
      `only ${roles.join(' or ')} may bring a version that is code, which replicas run; the key ${actor.name} is ${actor.role}`,
    )
}

/** Throws `command_refused` for a model without its file, and without an artifact for one whose versions are brought. */
export async function getTrainable(
  store: Database,
  { model: name, artifact }: Pick<StartRetrainingInput, 'model' | 'artifact'>,
): Promise<StoredModel> {
  const model = await getModel(store, name)
  if (artifact === undefined && model.definition.isBrought === true) throw notTrainedHere(name)
  await requireModelFile(store, name)
  return model
}

export interface CancelRetrainingInput {
  id: string
  reason?: string
}

/**
 * Cancels a retraining. The run records its end as `cancelled` when its processes have exited. Throws `command_refused` when it has ended.
 */
export async function cancelRetraining(
  deps: CancelDeps,
  actor: Actor,
  { id, reason }: CancelRetrainingInput,
): Promise<{ id: string; model: string }> {
  const { model, runId } = requireFound(runOfRetraining(id), { what: 'retraining', id })
  // The run is Temporal's, and may have no row yet.
  requireModelAccess(actor, model)
  const ended = (await findRetraining(deps.store, id))?.outcome
  if (ended !== undefined)
    throw new DomainError('command_refused', `the retraining of ${model} has ended as ${ended}`)
  const workflow = { workflowId: retrainWorkflowId(model), runId }
  const what = `the retraining of ${model}`
  await cancelTraining(deps, actor, { kind: 'retraining', id, model, workflow, what, reason })
  return { id, model }
}
