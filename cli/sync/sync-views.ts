/** Stores the feature views of the model files with their schedules, and deletes the schedules of unused views. */
import type { Client } from '@temporalio/client'
import type { FeatureView } from '../../domain/model/feature-view.ts'
import { isUsed, listViews, upsertView } from '../../store/features/feature-views.ts'
import type { Store } from '../../store/postgres.ts'
import { ignoreAbsent, upsertSchedule, viewSchedule, viewScheduleId } from '../../temporal/schedules.ts'

/** Runs after the models are stored, because usage is read from them. */
export async function syncViews(
  core: { client: Client; store: Store; taskQueue: string },
  views: readonly FeatureView[],
): Promise<void> {
  const { client, store, taskQueue } = core
  for (const view of views) {
    await upsertView(store, view)
    await upsertSchedule(client, viewSchedule(view, taskQueue))
  }
  const stored = await listViews(store)
  const used = new Set(stored.filter(isUsed).map(({ name }) => name))
  for (const name of new Set(stored.map((each) => each.name)))
    if (!used.has(name)) await client.schedule.getHandle(viewScheduleId(name)).delete().catch(ignoreAbsent)
}
