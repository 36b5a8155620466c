/**
 * Checks the triggers of a model. A trigger fires in the same transaction that moves its position, so a crash neither loses nor repeats a
 * firing. A failing check raises an alert and does not stop the other triggers.
 */
import { Context } from '@temporalio/activity'
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { canonicalJson } from '../../domain/canonical-json.ts'
import { isError, reasonOf } from '../../domain/errors.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { issuesOfOverrides } from '../../domain/training/overrides.ts'
import { batchScheduleName } from '../../domain/triggers/partitions.ts'
import {
  isSensor,
  type Sensor,
  triggerAlertKey,
  type TriggerDefinition,
  type TriggerFiring,
} from '../../domain/triggers/trigger.ts'
import { listRemovedModels } from '../../store/maintenance/expected-work.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { findModel } from '../../store/registry/models.ts'
import {
  insertFiring,
  listWaitingBatchFirings,
  listWaitingFirings,
  refuseFiring,
  listPositions,
  movePosition,
  recordProblem,
  startPosition,
  type TriggerPosition,
} from '../../store/triggers/firings.ts'
import type { Deps } from '../deps.ts'
import { compressedArtifact } from '../retrain/compressed-artifact.ts'
import { withHeartbeat } from '../runtime/heartbeat.ts'
import {
  lookForFiles,
  askForPartitions,
  firedOnce,
  type Look,
  type Sighting,
  lookAtWatermark,
  lookForPromotions,
  lookForRuns,
} from './sensors.ts'
import {
  findOpenTriggerAlerts,
  reportUnreadable,
  resolveIfOpen,
  resolveLeftAlerts,
  type OpenTriggerAlerts,
} from './report.ts'

type AnyLook = Look<Sensor, unknown>

/** The check of each kind of trigger. */
const looks: Record<Sensor['kind'], AnyLook> = {
  file: erased(lookForFiles),
  watermark: erased(lookAtWatermark),
  workflow: erased(lookForRuns),
  promotion: erased(lookForPromotions),
}

/** The position has the form of its kind, because a changed definition starts again. */
function erased<Kind, Seen>(look: Look<Kind, Seen>): AnyLook {
  return (deps, sensor, before, of) => look(deps, sensor as Kind, before as Seen | undefined, of)
}

/** A hanging share or server must not keep the other triggers from firing. */
const lookMs = 20_000

export interface LookInput {
  model: string
  /** The batch whose schedule is due. Triggers are then not checked. */
  batch?: string
}

export interface LookResult {
  /** The firing whose retraining has waited longest; a model runs one retraining at a time. */
  start?: string
  waiting: number
  problems: string[]
  /** The ids of the partitions to score. */
  batches: string[]
}

export const lookAtTriggers =
  (deps: Deps) =>
  ({ model, batch }: LookInput): Promise<LookResult> =>
    withHeartbeat(() => look(deps, model, batch))

async function look(deps: Deps, model: string, due: string | undefined): Promise<LookResult> {
  const { store } = deps
  const found = await findModel(store, model)
  const isRemoved = (await listRemovedModels(store)).includes(model)
  if (found === undefined || isRemoved) return { waiting: 0, problems: [], batches: [] }
  const { definition } = found
  const open = await findOpenTriggerAlerts(deps, model)
  const { batches = [] } = definition
  if (due !== undefined) {
    const scheduled = batches.filter(({ name, schedule }) => name === due && schedule !== undefined)
    for (const { name: batch } of scheduled) await fireSchedule(deps, { model, batch })
    return {
      waiting: 0,
      problems: [],
      batches: await askForPartitions(deps, { name: model, batches: scheduled }, open),
    }
  }
  const positions = new Map((await listPositions(store, model)).map((each) => [each.trigger, each]))
  // A firing that has not started yet covers newer data too.
  const fired = [
    ...(await listWaitingFirings(store, model)),
    ...(await listWaitingBatchFirings(store, { model, batches: firedOnce(batches) })),
  ]
  const busy = new Set(fired.map(({ trigger }) => trigger))
  const declared = [
    ...(definition.triggers ?? []).map((each) => ({ trigger: each, batch: undefined })),
    ...batches.flatMap(({ name, triggers = [] }) => triggers.map((each) => ({ trigger: each, batch: name }))),
  ]
  const problems = await Promise.all(
    declared.map(async ({ trigger, batch }) =>
      isSensor(trigger) && !busy.has(trigger.name)
        ? lookAt(deps, { model, sensor: trigger, batch, position: positions.get(trigger.name), open })
        : undefined,
    ),
  )
  await resolveLeftAlerts(deps, open, { ...definition, name: model })
  const waiting = await startable(deps, definition)
  return {
    start: waiting[0],
    waiting: waiting.length,
    problems: problems.filter((problem) => problem !== undefined),
    batches: await askForPartitions(deps, { ...definition, name: model }, open),
  }
}

interface LookedAt {
  model: string
  sensor: TriggerDefinition & Sensor
  /** The batch to start. Absent: a retraining. */
  batch?: string
  position?: TriggerPosition
  open: OpenTriggerAlerts
}

/** Returns why the check failed; undefined when it did not. */
async function lookAt(
  deps: Deps,
  { model, sensor, batch, position, open }: LookedAt,
): Promise<string | undefined> {
  const { store, log } = deps
  const { name: trigger } = sensor
  const isSame = position !== undefined && canonicalJson(position.definition) === canonicalJson(sensor)
  const before = isSame ? position.seen : undefined
  const starts = batch === undefined ? `retrain/${model}` : undefined
  let sighting: Sighting<unknown>
  try {
    sighting = await Promise.race([looks[sensor.kind](deps, sensor, before, { model, starts }), tooLong()])
  } catch (error) {
    const problem = reasonOf(error)
    await recordProblem(store, { model, trigger, problem })
    await reportUnreadable(deps, open, { model, trigger, problem })
    return `${trigger}: ${problem}`
  }
  const { seen, news } = sighting
  if (before === undefined) await startPosition(store, { model, definition: sensor, seen })
  else
    await store.transaction(async (database) => {
      const isMine = await movePosition(database, { model, trigger, from: before, to: seen })
      if (!isMine || news === undefined) return
      const { id = `fir_${randomUUID()}`, ...why } = news
      if (await insertFiring(database, { id, model, trigger, batch, ...why }))
        log.info({ firing: id, model, trigger }, `trigger fired: ${news.message}`)
    })
  await resolveIfOpen(deps, open, triggerAlertKey(model, trigger))
  return undefined
}

/** The id derives from the workflow run, so a retried activity fires once. */
async function fireSchedule(
  { store, log }: Deps,
  { model, batch }: { model: string; batch: string },
): Promise<void> {
  const id = `fir_${Context.current().info.workflowExecution!.runId}`
  const trigger = batchScheduleName(batch)
  if (await insertFiring(store, { id, model, trigger, batch, message: 'it was time', evidence: {} }))
    log.info({ firing: id, model, trigger }, 'trigger fired: it was time')
}

async function tooLong(): Promise<never> {
  await pause(lookMs, undefined, { ref: false })
  throw new Error(`no answer within ${lookMs / 1_000} s`)
}

/** The waiting retrainings. One that the current model file does not allow, or that cannot be compressed, never starts. */
async function startable({ store }: Deps, definition: ModelDefinition): Promise<string[]> {
  const waiting = await listWaitingFirings(store, definition.name)
  const kept: string[] = []
  for (const firing of waiting) {
    const issues = [
      ...issuesOfOverrides(definition, firing.overrides ?? {}),
      ...(await issuesOfParent(store, firing)),
    ]
    if (issues.length === 0) kept.push(firing.id)
    else await refuseFiring(store, { id: firing.id, refused: issues.join('; ') })
  }
  return kept
}

async function issuesOfParent(
  store: Deps['store'],
  { model, compression }: Pick<TriggerFiring, 'model' | 'compression'>,
): Promise<string[]> {
  if (compression === undefined) return []
  const { version } = compression
  if ((await findChampion(store, model))?.version !== version) return [`${version} is not champion any more`]
  try {
    await compressedArtifact(store, model, compression)
    return []
  } catch (error) {
    if (isError(error)) return [error.message]
    throw error
  }
}
