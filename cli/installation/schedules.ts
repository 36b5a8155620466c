/** Reads which Temporal schedules are paused. */
import type { Client } from '@temporalio/client'
import { DomainError } from '../../domain/errors.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import type { Resource, ResourceChange } from '../../domain/installation/resource.ts'
import { ignoreAbsent, readSchedules, schedulesOf, viewScheduleId } from '../../workflows/client/schedules.ts'
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

/**
 * Throws `not_found` for a change of a schedule that will not exist when it is applied. `before` and `after` are the definitions of the
 * models that the apply syncs: it creates what they declare, and deletes what they declare no longer.
 */
export function requireSchedules(
  changes: readonly ResourceChange[],
  { live, before, after }: Record<'live' | 'before' | 'after', readonly Resource[]>,
): void {
  const declaredBy = (models: readonly Resource[]): string[] => {
    const definitions = models.flatMap(
      ({ value }) => (value['definition'] as ModelDefinition | undefined) ?? [],
    )
    return schedulesOf({ models: definitions, views: [] }, '').map(({ scheduleId }) => scheduleId)
  }
  const views = after.flatMap(({ value }) => (value['definition'] as ModelDefinition).views ?? [])
  const declared = new Set([...declaredBy(after), ...views.map(viewScheduleId)])
  const deleted = new Set(declaredBy(before).filter((id) => !declared.has(id)))
  const ids = new Set([...live.map(({ name }) => name).filter((id) => !deleted.has(id)), ...declared])
  for (const { kind, name } of changes)
    if (kind === 'schedule' && !ids.has(name)) throw noSchedule(name, [...ids])
}

const noSchedule = (id: string, ids: readonly string[]): DomainError =>
  new DomainError(
    'not_found',
    `there is no schedule ${id}: no model file declares it; the schedules are ${ids.toSorted().join(', ') || 'none'}`,
  )
