/**
 * Pauses the schedules of models whose file was removed: their champion keeps serving, but retraining would fail without the file. Models
 * that have left nothing are deleted.
 */
import type { Client } from '@temporalio/client'
import { deleteUnusedModel, listModels, type StoredModel } from '../../store/registry/models.ts'
import { recordRemovedModels } from '../../store/maintenance/duties.ts'
import type { Store } from '../../store/postgres.ts'
import { inParallel } from '../../temporal/in-parallel.ts'
import { removedNote } from '../../temporal/inspect.ts'
import {
  batchScheduleIds,
  drillScheduleId,
  ignoreAbsent,
  listedBatchSchedules,
  scheduleId,
  triggersScheduleId,
  type ListedSchedule,
  type ListedSchedules,
} from '../../temporal/schedules.ts'

const schedulesOf = (model: string, listed: ListedSchedules): string[] => [
  scheduleId(model),
  drillScheduleId(model),
  triggersScheduleId(model),
  ...listedBatchSchedules(listed, model),
]

const isPausedAsRemoved = (state?: Pick<ListedSchedule, 'paused' | 'note'>): boolean =>
  state?.paused === true && state.note === removedNote

/** Whether a schedule of the model is listed as paused because its file was removed. */
export const hasPausedSchedule = (listed: ListedSchedules, model: string): boolean =>
  schedulesOf(model, listed).some((id) => isPausedAsRemoved(listed.get(id)))

export interface RemovedModels {
  /** Kept without a file; their schedules are paused. */
  gone: string[]
  /** Deleted with their schedules. Their monitor ends with its next window. */
  deleted: string[]
}

/** Pauses the schedules of models without a file, and deletes those of them that nothing refers to. */
export async function pauseGone(
  client: Client,
  store: Store,
  present: ReadonlySet<string>,
  listed: ListedSchedules = new Map(),
): Promise<RemovedModels> {
  const models = (await listModels(store)).filter(({ name }) => !present.has(name))
  const removed = models.map(({ name }) => name)
  // Temporal may not list a schedule of a moment ago.
  const ids = ({ name, definition }: StoredModel) =>
    new Set([...schedulesOf(name, listed), ...batchScheduleIds(name, definition)])
  const unpaused = models
    .flatMap((model) => [...ids(model)])
    .filter((id) => !isPausedAsRemoved(listed.get(id)))
  await inParallel(unpaused, (id) => client.schedule.getHandle(id).pause(removedNote).catch(ignoreAbsent))
  await recordRemovedModels(store, removed)
  const deleted: string[] = []
  for (const model of removed) if (await deleteUnusedModel(store, model)) deleted.push(model)
  if (deleted.length === 0) return { gone: removed, deleted }
  await inParallel(
    models.flatMap((model) => (deleted.includes(model.name) ? [...ids(model)] : [])),
    (id) => client.schedule.getHandle(id).delete().catch(ignoreAbsent),
  )
  const gone = removed.filter((model) => !deleted.includes(model))
  await recordRemovedModels(store, gone)
  return { gone, deleted }
}

/** Resumes the schedules of a restored model file. Schedules paused by an operator stay paused. */
export async function resumeReturned(
  client: Client,
  model: string,
  listed: ListedSchedules = new Map(),
): Promise<void> {
  for (const id of schedulesOf(model, listed)) {
    const handle = client.schedule.getHandle(id)
    const known = await handle.describe().catch(ignoreAbsent)
    if (known?.state.paused === true && known.state.note === removedNote)
      await handle.unpause('model file restored')
  }
}
