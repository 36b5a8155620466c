/** Fires a trigger of a model, for a webhook or an operator. The firing is stored in Postgres, so it survives a Temporal outage. */
import { DomainError } from '../../../domain/errors.ts'
import { compressOptions } from '../../../domain/model/compression.ts'
import { requireOverrides } from '../../../domain/training/overrides.ts'
import { issuesOfParameters, overridesIn, type ParameterValues } from '../../../domain/triggers/parameters.ts'
import { isDay, isEnded, partitionOf, type BatchDefinition } from '../../../domain/triggers/partitions.ts'
import { appendAudit } from '../../../store/audit/audit-log.ts'
import { readNow } from '../../../store/database/clock.ts'
import { requireModelFile } from '../../../store/maintenance/expected-work.ts'
import { getModel } from '../../../store/registry/models.ts'
import type { Database } from '../../../store/postgres.ts'
import { insertPartition, listPartitions, insertFiring } from '../../../store/triggers/firings.ts'
import { triggersWorkflowId, type FireTriggersRequest } from '../../../workflows/triggers/messages.ts'
import type { Actor } from '../../auth/authentication.ts'
import type { CommandDeps } from '../../deps.ts'
import { callTimeoutMs } from '../../temporal/client.ts'
import { startUnlessOpen } from '../../temporal/start-workflow.ts'

export interface FireTriggerInput {
  model: string
  trigger: string
  parameters: ParameterValues
}

export interface FiredTrigger {
  id: string
  model: string
  trigger: string
  message: string
}

/**
 * Fires a trigger. Throws `not_found` for a trigger that the model file does not have, and `invalid_request` with all issues of the
 * parameters.
 */
export async function fireTrigger(
  deps: CommandDeps,
  actor: Actor,
  { model: name, trigger, parameters }: FireTriggerInput,
  { id: requestId }: { id: string },
): Promise<FiredTrigger> {
  const { store, log } = deps
  const { name: model, definition } = await getModel(store, name)
  const { triggers = [], batches = [] } = definition
  const daily = batches.find((each) => each.name === trigger && each.partition !== undefined)
  if (daily !== undefined) return scoreDayAgain(deps, actor, { model, batch: daily, parameters })
  const batch = batches.find((each) => each.triggers?.some(({ name: own }) => own === trigger))
  const declared = [...triggers, ...(batch?.triggers ?? [])].find((each) => each.name === trigger)
  if (declared === undefined) {
    // The list of triggers names it too.
    if (trigger === 'schedule' && definition.retrain !== undefined)
      throw new DomainError('invalid_request', `the schedule of ${model} cannot be fired`, {
        remedy: `Start a retraining with \`tenure retrain ${model}\`.`,
      })
    const ofBatches = batches.flatMap((each) => [
      ...(each.partition === undefined ? [] : [each]),
      ...(each.triggers ?? []),
    ])
    const names = [...triggers, ...ofBatches].map((each) => each.name).join(', ') || 'no triggers'
    throw new DomainError('not_found', `${model} has no trigger ${JSON.stringify(trigger)}: it has ${names}`)
  }
  if (declared.kind === 'promotion')
    throw new DomainError('invalid_request', `${trigger} of ${model} fires when a version is promoted`, {
      remedy: `Compress a version with \`tenure compress ${model} ${compressOptions(declared.compression)}\`.`,
    })
  await requireModelFile(store, model)
  const issues = issuesOfParameters(declared, parameters)
  if (issues.length > 0) throw new DomainError('invalid_request', issues.join('; '), { issues })
  // Parameters of a batch appear in its paths and its query.
  const overrides = batch === undefined ? overridesIn(definition.hyperparameters, parameters) : undefined
  requireOverrides(definition, overrides)
  const id = `fir_${requestId}`
  const message = `fired by ${actor.name}`
  const firing = {
    id,
    model,
    trigger,
    batch: batch?.name,
    message,
    evidence: parameters,
    requestedBy: actor.name,
    overrides,
  }
  await store.transaction(async (database) => {
    if (await insertFiring(database, firing))
      await auditFiring(database, actor, { id, model, trigger, parameters })
  })
  log.info({ firing: id, model, trigger, by: actor.name }, 'trigger fired')
  return { id, model, trigger, message: await wake(deps, model) }
}

/** Scores one day of a batch, even when it was scored before. Throws `invalid_request` for a missing day or one that has not ended. */
async function scoreDayAgain(
  deps: CommandDeps,
  actor: Actor,
  { model, batch, parameters }: { model: string; batch: BatchDefinition; parameters: ParameterValues },
): Promise<FiredTrigger> {
  const { store, log } = deps
  const { date: day, ...others } = parameters
  if (!isDay(day) || Object.keys(others).length > 0)
    throw new DomainError('invalid_request', `${batch.name} takes one parameter, a day: date=2026-11-01`)
  if (!isEnded(day, batch.partition!, await readNow(store)))
    throw new DomainError('invalid_request', `the day ${day} has not ended yet`)
  const id = await store.transaction(async (database) => {
    const known = await listPartitions(database, { model, batch: batch.name })
    const last = known.find(({ partition }) => partition === day)
    if (last !== undefined && (last.status === undefined || last.status === 'running'))
      throw new DomainError('command_refused', `the day ${day} of ${batch.name} is being scored already`)
    const attempt = (last?.attempt ?? 0) + 1
    const asked = partitionOf({ model, batch, values: { date: day }, attempt, reason: 'asked' })
    if (await insertPartition(database, asked))
      await auditFiring(database, actor, { id: asked.id, model, trigger: batch.name, parameters })
    return asked.id
  })
  log.info({ batch: id, model, by: actor.name }, 'partition requested')
  return { id, model, trigger: batch.name, message: await wake(deps, model) }
}

const auditFiring = (
  database: Database,
  actor: Actor,
  { id, model, trigger, parameters }: FireTriggerInput & { id: string },
) =>
  appendAudit(database, {
    actor: actor.name,
    action: 'trigger.fired',
    subject: id,
    model,
    detail: { trigger, parameters },
  })

/**
 * Starts the workflow that handles firings, under the id of its schedule. If that fails, the next check of the schedule handles them.
 * Returns a message for the caller.
 */
async function wake({ temporal, log }: CommandDeps, model: string): Promise<string> {
  const workflowId = triggersWorkflowId(model)
  try {
    const { state } = await temporal.call(callTimeoutMs, (client) =>
      client.schedule.getHandle(workflowId).describe(),
    )
    if (state.paused)
      return `recorded; the triggers are paused (${state.note ?? 'no note'}), and it starts when they are resumed`
    const request: FireTriggersRequest = { model }
    await startUnlessOpen(temporal, { type: 'fireTriggers', workflowId, request, joinsOpenRun: true })
    return 'recorded; it starts now, or when the running retraining or batch has ended'
  } catch (error) {
    log.warn({ model, error: String(error) }, 'the triggers were not woken')
    return 'recorded; it starts as soon as Temporal answers'
  }
}
