/** Reads what tells whether a model needs someone, of every model or of one. */
import { listAlertGroups, listModelStates } from '../../../../store/dashboard/overview.ts'
import type { Database } from '../../../../store/postgres.ts'
import { readLastMinute } from '../../../../store/registry/champion-watch.ts'
import { listReleases } from '../../../../store/release/releases.ts'
import { readStages } from '../../stage-badge.tsx'
import type { Measured } from './concerns.ts'

/** More releases are never open at once: each holds a workflow and a route. */
const maxOpen = 1_000

export async function readMeasured(database: Database, model?: string): Promise<Measured> {
  const only = model === undefined ? {} : { model }
  const [states, alerts, open] = await Promise.all([
    listModelStates(database, model),
    listAlertGroups(database, only),
    listReleases(database, { open: true, limit: maxOpen, ...only }),
  ])
  const [minutes, stages] = await Promise.all([
    readLastMinute(
      database,
      states.map((state) => state.model),
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
