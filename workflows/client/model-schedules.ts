/** Applies the schedules of one model whose files were sent, and deletes those of a deleted model. */
import { WorkflowNotFoundError, type Client } from '@temporalio/client'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import type { FeatureView } from '../../domain/model/feature-view.ts'
import { removedNote } from './inspect.ts'
import { startAlerts, startMonitor, startOrWakeMonitor } from './permanent-workflows.ts'
import { modelChangedSignal, monitorWorkflowId } from '../messages.ts'
import {
  batchScheduleIds,
  drillScheduleId,
  ignoreAbsent,
  retentionScheduleId,
  scheduleId,
  syncModelSchedules,
  triggersScheduleId,
  upsertSchedule,
  viewSchedule,
  viewScheduleId,
} from './schedules.ts'

/** Throws `invalid_model_file` for times that Temporal refuses. */
export async function applyModelSchedules(
  client: Client,
  {
    before,
    definition,
    taskQueue,
  }: { before: ModelDefinition | undefined; definition: ModelDefinition; taskQueue: string },
): Promise<void> {
  const { name } = definition
  await syncModelSchedules(client, definition, taskQueue)
  const batches = batchScheduleIds(name, definition)
  for (const id of before === undefined ? [] : batchScheduleIds(name, before))
    if (!batches.includes(id)) await client.schedule.getHandle(id).delete().catch(ignoreAbsent)
  for (const view of definition.views ?? []) await upsertSchedule(client, viewSchedule(view, taskQueue))
  await startAlerts(client, taskQueue)
  if (before !== undefined && before.monitor?.everyMs !== definition.monitor?.everyMs)
    await startOrWakeMonitor(client, name, taskQueue)
  else await startMonitor(client, name, taskQueue)
  await resumeSchedules(client, [
    scheduleId(name),
    drillScheduleId(name),
    triggersScheduleId(name),
    ...batches,
  ])
}

/** Deletes the schedules of a model, and of views that no other model uses. */
export async function deleteModelSchedules(
  client: Client,
  definition: ModelDefinition,
  views: readonly FeatureView[],
): Promise<void> {
  const { name } = definition
  const ids = [
    scheduleId(name),
    drillScheduleId(name),
    triggersScheduleId(name),
    ...batchScheduleIds(name, definition),
    ...views.map(viewScheduleId),
  ]
  for (const id of ids) await client.schedule.getHandle(id).delete().catch(ignoreAbsent)
}

/** Tells the monitor of a deleted model to look, so that it ends, and starts the retention, which deletes what the model has left. */
export async function endDeleted(client: Client, model: string): Promise<void> {
  await client.workflow
    .getHandle(monitorWorkflowId(model))
    .signal(modelChangedSignal)
    .catch((error: unknown) => {
      if (!(error instanceof WorkflowNotFoundError)) throw error
    })
  await client.schedule.getHandle(retentionScheduleId).trigger().catch(ignoreAbsent)
}

/** Resumes schedules that were paused because their model file was removed. Those that an operator has paused stay paused. */
export async function resumeSchedules(client: Client, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    const handle = client.schedule.getHandle(id)
    const known = await handle.describe().catch(ignoreAbsent)
    if (known?.state.paused === true && known.state.note === removedNote)
      await handle.unpause('model file restored')
  }
}
