/** Reads what the overview must know of every model to order them by trouble. */
import { listAlertGroups, listModelStates } from '../../../../store/dashboard/overview.ts'
import type { Database } from '../../../../store/postgres.ts'
import { readLastMinute } from '../../../../store/registry/champion-watch.ts'
import { listReleases } from '../../../../store/release/releases.ts'
import { readStages } from '../../stage-badge.tsx'
import type { Measured } from './concerns.ts'

/** More releases are never open at once: each holds a workflow and a route. */
const maxOpen = 1_000

export async function readMeasured(database: Database): Promise<Measured> {
  const [states, alerts, open] = await Promise.all([
    listModelStates(database),
    listAlertGroups(database),
    listReleases(database, { open: true, limit: maxOpen }),
  ])
  const [minutes, stages] = await Promise.all([
    readLastMinute(
      database,
      states.map(({ model }) => model),
    ),
    readStages(
      database,
      open.map(({ state }) => state),
    ),
  ])
  return {
    states,
    alerts: alerts.filter(({ severity }) => severity !== 'info'),
    minutes,
    stages: [...stages.values()],
  }
}
