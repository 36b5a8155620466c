/** Stores the feature views of the model files with their schedules, and deletes the schedules of unused views. */
import type { Client } from '@temporalio/client'
import type { FeatureView } from '../../domain/model/feature-view.ts'
import { isUsed, listViews, upsertView } from '../../store/features/feature-views.ts'
import type { Store } from '../../store/postgres.ts'
import { inParallel } from '../../temporal/in-parallel.ts'
import {
  ignoreAbsent,
  upsertSchedule,
  viewSchedule,
  viewScheduleId,
  type ListedSchedules,
} from '../../temporal/schedules.ts'

/** Runs after the models are stored, because usage is read from them. */
export async function syncViews(
  core: { client: Client; store: Store; taskQueue: string; listed?: ListedSchedules },
  views: readonly FeatureView[],
): Promise<void> {
  const { client, store, taskQueue, listed } = core
  await inParallel(views, async (view) => {
    await upsertView(store, view)
    await upsertSchedule(client, viewSchedule(view, taskQueue), listed)
  })
  const stored = await listViews(store)
  const used = new Set(stored.filter(isUsed).map(({ name }) => name))
  const unused = new Set(stored.map(({ name }) => name).filter((name) => !used.has(name)))
  await inParallel(unused, (name) =>
    client.schedule.getHandle(viewScheduleId(name)).delete().catch(ignoreAbsent),
  )
}
