/** Reads which Temporal schedules are paused, and pauses and resumes them. */
import type { Client } from '@temporalio/client'
import { DomainError } from '../../domain/errors.ts'
import type { Resource, ResourceChange } from '../../domain/installation/resource.ts'
import { ignoreAbsent, readSchedules } from '../../temporal/schedules.ts'
import { environmentWith, readCommandConfig, readConfig } from '../../temporal.config.ts'
import { coreAddresses } from '../client/connection.ts'
import { withTemporal } from '../sync/sync-models.ts'

async function withSchedules<T>(work: (client: Client) => Promise<T>): Promise<T> {
  const { databaseUrl, temporalAddress } = coreAddresses(readCommandConfig())
  const config = readConfig(environmentWith({ DATABASE_URL: databaseUrl, TEMPORAL_ADDRESS: temporalAddress }))
  return withTemporal(config, work)
}

/** Describes each schedule, because Temporal's list lags. */
export const readLiveSchedules = (): Promise<Resource[]> =>
  withSchedules(async (client) => {
    const ids = [...(await readSchedules(client)).keys()]
    const described = ids.map(async (id): Promise<Resource[]> => {
      const known = await client.schedule.getHandle(id).describe().catch(ignoreAbsent)
      return known === undefined
        ? []
        : [{ kind: 'schedule', name: id, value: { paused: known.state.paused } }]
    })
    return (await Promise.all(described)).flat()
  })

/** Throws `not_found` for a schedule that no model file declares. */
export async function changeSchedules(changes: readonly ResourceChange[], note: string): Promise<void> {
  if (changes.length === 0) return
  await withSchedules(async (client) => {
    for (const { name, after } of changes) {
      const handle = client.schedule.getHandle(name)
      if ((await handle.describe().catch(ignoreAbsent)) === undefined)
        throw new DomainError(
          'not_found',
          `there is no schedule ${name}: no model file declares it; the schedules are ${[...(await readSchedules(client)).keys()].sort().join(', ') || 'none'}`,
        )
      await (after?.['paused'] === true ? handle.pause(note) : handle.unpause(note))
    }
  })
}
