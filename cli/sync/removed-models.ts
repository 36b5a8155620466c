/**
 * Models whose file is gone. Their versions go on serving, for callers ask for them; but nobody has said any more that they
 * shall be retrained or rehearsed, and a schedule without a file would fail, or train by code that nobody sees, for ever.
 */
import { ScheduleNotFoundError, type Client } from '@temporalio/client'
import { listModels } from '../../store/registry/models.ts'
import type { Store } from '../../store/postgres.ts'
import { drillScheduleId, scheduleId } from './schedules.ts'

const note = 'its model file is gone'

const schedulesOf = (model: string): string[] => [scheduleId(model), drillScheduleId(model)]

/** Pauses what is scheduled for models that are kept and no longer in the files; answers their names. */
export async function pauseGone(
  client: Client,
  store: Store,
  present: ReadonlySet<string>,
): Promise<string[]> {
  const gone = (await listModels(store)).map(({ name }) => name).filter((name) => !present.has(name))
  for (const id of gone.flatMap(schedulesOf))
    await client.schedule.getHandle(id).pause(note).catch(ignoreAbsent)
  return gone
}

/** Lets the schedules of a model go on whose file has come back. What a person has paused stays so. */
export async function resumeReturned(client: Client, model: string): Promise<void> {
  for (const id of schedulesOf(model)) {
    const handle = client.schedule.getHandle(id)
    const known = await handle.describe().catch(ignoreAbsent)
    if (known?.state.paused === true && known.state.note === note)
      await handle.unpause('its model file is there again')
  }
}

function ignoreAbsent(error: unknown): undefined {
  if (!(error instanceof ScheduleNotFoundError)) throw error
}
