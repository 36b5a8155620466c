/**
 * Asks for the batches of a model file: each day once when it is complete, and again when the version that scored it was rolled back.
 * The number of an attempt is its key in the database, so looks at the same time ask for one batch.
 */
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { reasonOf } from '../../domain/errors.ts'
import { batchKey } from '../../domain/model/batch-spec.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import {
  endedDays,
  markerOf,
  partitionOf,
  type BatchDefinition,
  type PartitionReason,
} from '../../domain/triggers/partitions.ts'
import { partitionAlertKey, triggerAlertKey } from '../../domain/triggers/trigger.ts'
import { readNow } from '../../store/database/clock.ts'
import { upsertAlert } from '../../store/monitoring/alerts.ts'
import { findChampion } from '../../store/registry/champions.ts'
import {
  insertPartition,
  listPartitions,
  listWaitingPartitions,
  type PartitionState,
} from '../../store/triggers/partitions.ts'
import type { BatchRequest } from '../../workflows/messages.ts'
import type { Deps } from '../deps.ts'
import { reportUnreadable, resolveIfOpen, type OpenTriggerAlerts } from './report.ts'

/** Batches of a model that may wait for their start, so that a long backfill leaves room for others. */
const maxWaiting = 4
/** Days in a message. */
const maxNamed = 3

/** The batches to start. Without a champion none starts. */
export async function askForPartitions(
  deps: Deps,
  { name: model, batches = [] }: Pick<ModelDefinition, 'name' | 'batches'>,
  alerts: OpenTriggerAlerts,
): Promise<BatchRequest[]> {
  const { store } = deps
  if (batches.length === 0) return []
  const champion = await findChampion(store, model)
  if (champion === undefined) return []
  for (const batch of batches) {
    const trigger = batch.name
    try {
      await askFor(deps, { model, batch, champion: champion.version, alerts })
      await resolveIfOpen(deps, alerts, triggerAlertKey(model, trigger))
    } catch (error) {
      await reportUnreadable(deps, { model, trigger, problem: reasonOf(error) })
    }
  }
  const waiting = await listWaitingPartitions(store, { model, limit: maxWaiting })
  return waiting.map(({ request }) => request as unknown as BatchRequest)
}

async function askFor(
  deps: Deps,
  {
    model,
    batch,
    champion,
    alerts,
  }: { model: string; batch: BatchDefinition; champion: string; alerts: OpenTriggerAlerts },
): Promise<void> {
  const { store, log } = deps
  const known = await listPartitions(store, { model, batch: batch.name })
  await tellOfFailed(deps, { model, batch: batch.name, known, alerts })
  let open = known.filter(({ status }) => status === undefined || status === 'running').length
  const ask = async (day: string, attempt: number, reason: PartitionReason): Promise<void> => {
    if (open >= maxWaiting) return
    open++
    const asked = partitionOf({ model, batch, day, attempt, reason })
    if (await insertPartition(store, asked))
      log.info({ batch: asked.id, model, reason }, 'partition asked for')
  }
  for (const { partition, attempt, status, withdrawn, version } of known)
    if (status === 'done' && withdrawn && version !== champion) await ask(partition, attempt + 1, 'withdrawn')
  const days = new Set(known.map(({ partition }) => partition))
  for (const day of endedDays(batch.partition, await readNow(store)).filter((each) => !days.has(each))) {
    if (open >= maxWaiting) return
    if (await isComplete(deps, batch, day)) await ask(day, 1, 'due')
  }
}

/** Whether the file of the day is there, on this machine or in the object store. */
async function isComplete(
  { config, artifacts }: Deps,
  batch: BatchDefinition,
  day: string,
): Promise<boolean> {
  const marker = markerOf(batch, day)
  if (marker === undefined) return true
  const isHere = await access(join(config.batchDir, marker)).then(
    () => true,
    () => false,
  )
  return isHere || (await artifacts.objects?.find(batchKey(marker))) !== undefined
}

async function tellOfFailed(
  deps: Deps,
  {
    model,
    batch,
    known,
    alerts,
  }: { model: string; batch: string; known: readonly PartitionState[]; alerts: OpenTriggerAlerts },
): Promise<void> {
  const dedupeKey = partitionAlertKey(model, batch)
  const failed = known.filter(({ status }) => status === 'failed')
  const [first] = failed
  if (first === undefined) return resolveIfOpen(deps, alerts, dedupeKey)
  const named = failed.slice(0, maxNamed).map(({ partition }) => partition)
  await upsertAlert(deps.store, {
    dedupeKey,
    model,
    severity: 'warning',
    kind: 'partition_failed',
    message: `${failed.length} partition(s) of the batch ${batch} of ${model} have no answers: ${named.join(', ')}${failed.length > maxNamed ? ', …' : ''}. ${first.partition}: ${first.message ?? ''}`,
    evidence: { batch, failed: failed.length },
  })
}
