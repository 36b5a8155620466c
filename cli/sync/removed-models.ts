/** Pauses the schedules of models whose file was removed. Their versions keep serving, but retraining would fail without the file. */
import type { Client } from '@temporalio/client'
import { listModels } from '../../store/registry/models.ts'
import { recordRemovedModels } from '../../store/maintenance/duties.ts'
import type { Store } from '../../store/postgres.ts'
import { inParallel } from '../../temporal/in-parallel.ts'
import { removedNote } from '../../temporal/inspect.ts'
import {
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

/** Pauses the schedules of models without a file, and returns their names. */
export async function pauseGone(
  client: Client,
  store: Store,
  present: ReadonlySet<string>,
  listed: ListedSchedules = new Map(),
): Promise<string[]> {
  const gone = (await listModels(store)).map(({ name }) => name).filter((name) => !present.has(name))
  const unpaused = gone
    .flatMap((model) => schedulesOf(model, listed))
    .filter((id) => !isPausedAsRemoved(listed.get(id)))
  await inParallel(unpaused, (id) => client.schedule.getHandle(id).pause(removedNote).catch(ignoreAbsent))
  await recordRemovedModels(store, gone)
  return gone
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
