/**
 * Requests the batches of a model file: each day once when its data is complete, each firing of a trigger once, and both again when the
 * version that scored them was rolled back. The attempt number is the key in the database, so concurrent checks request one batch.
 */
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { reasonOf } from '../../domain/errors.ts'
import { counted } from '../../domain/figures.ts'
import { batchKey } from '../../domain/model/batch-spec.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import {
  endedDays,
  isFired,
  markerOf,
  partitionNameOf,
  partitionOf,
  valuesOfFiring,
  withdrawnPartition,
  type BatchDefinition,
  type FiredBatch,
} from '../../domain/triggers/partitions.ts'
import { partitionAlertKey, triggerAlertKey } from '../../domain/triggers/trigger.ts'
import { readNow } from '../../store/database/clock.ts'
import { upsertAlert } from '../../store/monitoring/alerts.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { listLastBatchFirings, listWaitingBatchFirings } from '../../store/triggers/firings.ts'
import {
  insertPartition,
  listPartitions,
  listWaitingPartitions,
  type BatchPartition,
  type PartitionState,
} from '../../store/triggers/partitions.ts'
import type { BatchRequest } from '../../workflows/messages.ts'
import type { Deps } from '../deps.ts'
import { reportUnreadable, resolveIfOpen, type OpenTriggerAlerts } from './report.ts'

/** The most batches of a model that wait for their start, so that a long backfill leaves room for other work. */
const maxWaiting = 4
/** The most days that a message names. */
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
  const waitingFirings = await listWaitingBatchFirings(store, { model, batches: firedOnce(batches) })
  const firedAt = new Map(
    (await listLastBatchFirings(store, model)).map((each) => [each.batch, each.firedAt]),
  )
  for (const batch of batches) {
    const trigger = batch.name
    const firings = waitingFirings.filter((each) => each.batch === batch.name)
    const lastFiredAt = firedAt.get(batch.name)
    try {
      await askFor(deps, { model, batch, champion: champion.version, alerts, firings, lastFiredAt })
      await resolveIfOpen(deps, alerts, triggerAlertKey(model, trigger))
    } catch (error) {
      await reportUnreadable(deps, alerts, { model, trigger, problem: reasonOf(error) })
    }
  }
  const waiting = await listWaitingPartitions(store, { model, limit: maxWaiting })
  return waiting.map(({ request }) => request as unknown as BatchRequest)
}

/** The batches without days: each firing requests one partition. */
export const firedOnce = (batches: readonly BatchDefinition[]): string[] =>
  batches.filter(({ partition }) => partition === undefined).map(({ name }) => name)

interface Asked {
  model: string
  batch: BatchDefinition
  champion: string
  alerts: OpenTriggerAlerts
  /** The firings that have not requested a partition yet. */
  firings: readonly FiredBatch[]
  lastFiredAt?: string
}

async function askFor(deps: Deps, asked: Asked): Promise<void> {
  const { store, log } = deps
  const { model, batch, champion, alerts, firings, lastFiredAt } = asked
  const known = await listPartitions(store, { model, batch: batch.name })
  await tellOfFailed(deps, { model, batch: batch.name, known, alerts })
  const isOpen = ({ status }: PartitionState) => status === undefined || status === 'running'
  let open = known.filter(isOpen).length
  const ask = async (next: BatchPartition): Promise<void> => {
    if (open >= maxWaiting) return
    open++
    if (await insertPartition(store, next))
      log.info({ batch: next.id, model, reason: next.reason }, 'partition requested')
  }
  for (const each of known)
    if (each.status === 'done' && each.withdrawn && each.version !== champion)
      await ask(withdrawnPartition(model, batch, each))
  const last = new Map(known.map((each) => [each.partition, each]))
  for (const firing of firings) {
    const values = valuesOfFiring(batch, firing)
    const before = last.get(partitionNameOf(values))
    // Two batches at the same time would write to the same output.
    if (before !== undefined && isOpen(before)) continue
    const attempt = (before?.attempt ?? 0) + 1
    await ask(partitionOf({ model, batch, values, attempt, reason: 'fired', firing: firing.id }))
    last.set(partitionNameOf(values), { ...before, status: 'running' } as PartitionState)
  }
  const { partition } = batch
  if (partition === undefined) return
  if (isFired(batch) && lastFiredAt === undefined) return
  const untilMs = isFired(batch) ? Date.parse(lastFiredAt!) : await readNow(store)
  for (const day of endedDays(partition, untilMs).filter((each) => !last.has(each))) {
    if (open >= maxWaiting) return
    if (await isComplete(deps, batch, day))
      await ask(partitionOf({ model, batch, values: { date: day }, attempt: 1, reason: 'due' }))
  }
}

/** Whether the file of the day exists, on this machine or in the object store. */
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
    message: `${counted(failed.length, 'partition')} of the batch ${batch} of ${model} without answers: ${named.join(', ')}${failed.length > maxNamed ? ', …' : ''}. ${first.partition}: ${first.message ?? ''}`,
    evidence: { batch, failed: failed.length },
  })
}
