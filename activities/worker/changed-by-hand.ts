/**
 * Raises an alert while a resource differs from what `tenure apply` wrote. Kill switches are left out, because they are meant to be set
 * by hand. Schedules have their own alert.
 */
import { changedSince, textOfChanged } from '../../domain/installation/plan.ts'
import { addressOf } from '../../domain/installation/resource.ts'
import { listApplied } from '../../store/installation/applied-state.ts'
import { readLiveState } from '../../store/installation/live-state.ts'
import { resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import type { Store } from '../../store/postgres.ts'

const dedupeKey = 'changed_by_hand'
const maxNamed = 10

/** Returns the addresses of the changed resources. */
export async function reportChangedByHand(store: Store): Promise<string[]> {
  const applied = (await listApplied(store)).filter(
    ({ kind }) => kind !== 'killSwitch' && kind !== 'schedule',
  )
  const live = applied.length === 0 ? [] : await readLiveState(store)
  const found = changedSince(applied, live)
  const changed = found.map(addressOf)
  if (changed.length === 0) {
    await resolveAlert(store, dedupeKey, 'all resources are as the last `tenure apply` wrote them')
    return []
  }
  const more = changed.length > maxNamed ? `, and ${changed.length - maxNamed} more` : ''
  await upsertAlert(store, {
    dedupeKey,
    severity: 'warning',
    kind: 'changed_by_hand',
    cause: changed.join(', '),
    message: `Changed since the last \`tenure apply\`: ${found.slice(0, maxNamed).map(textOfChanged).join(', ')}${more}. \`tenure plan\` shows how. Take the change into the state file or the model file and run \`tenure apply\`, or apply them as they are.`,
    evidence: { changed },
  })
  return changed
}
