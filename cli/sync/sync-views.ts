/** Stores the feature views of the model files with their schedules, and deletes the schedules of unused views. */
import type { Client } from '@temporalio/client'
import type { FeatureView } from '../../domain/model/feature-view.ts'
import { isUsed, listViews, upsertView } from '../../store/features/feature-views.ts'
import type { Store } from '../../store/postgres.ts'
import { ignoreAbsent, upsertSchedule } from './schedules.ts'
import { materialiseWorkflowId, type MaterialiseRequest } from '../../workflows/messages.ts'

export const viewScheduleId = (view: string): string => materialiseWorkflowId(view)

/** Runs after the models are stored, because usage is read from them. */
export async function syncViews(
  core: { client: Client; store: Store; taskQueue: string },
  views: readonly FeatureView[],
): Promise<void> {
  const { client, store, taskQueue } = core
  for (const view of views) {
    await upsertView(store, view)
    await syncViewSchedule(client, view, taskQueue)
  }
  const stored = await listViews(store)
  const used = new Set(stored.filter(isUsed).map(({ name }) => name))
  for (const name of new Set(stored.map((each) => each.name)))
    if (!used.has(name)) await client.schedule.getHandle(viewScheduleId(name)).delete().catch(ignoreAbsent)
}

async function syncViewSchedule(
  client: Client,
  { name, everyMs }: FeatureView,
  taskQueue: string,
): Promise<void> {
  await upsertSchedule(client, {
    scheduleId: viewScheduleId(name),
    times: { every: everyMs },
    workflowType: 'materialise',
    workflowId: materialiseWorkflowId(name),
    taskQueue,
    request: { view: name } satisfies MaterialiseRequest,
    // Missed runs are not caught up: the next run reads their rows too.
    catchupWindow: '1 minute',
    triggerImmediately: true,
  })
}
