/** Compares the installation with the state of the last `tenure apply`. */
import { changedSince, textOfChanged } from '../../domain/installation/plan.ts'
import type { AppliedResource, Resource } from '../../domain/installation/resource.ts'
import { listApplied } from '../../store/installation/applied-state.ts'
import { readLiveState } from '../../store/installation/live-state.ts'
import { openStore } from '../../store/postgres.ts'
import { ok, warning, type Finding } from './finding.ts'

/** Returns no finding if nothing was ever applied. */
export async function checkAppliedState(databaseUrl: string): Promise<Finding[]> {
  const store = openStore(databaseUrl, { name: 'tenure doctor', max: 1 })
  try {
    const applied = (await listApplied(store)).filter(({ kind }) => kind !== 'schedule')
    return applied.length === 0 ? [] : [findingOfApplied(applied, await readLiveState(store))]
  } finally {
    await store.close()
  }
}

export function findingOfApplied(applied: readonly AppliedResource[], live: readonly Resource[]): Finding {
  const changed = changedSince(applied, live).map(textOfChanged)
  if (changed.length === 0)
    return ok('state file', `${applied.length} resources are as the last \`tenure apply\` has set them`)
  return warning(
    'state file',
    `changed since the last \`tenure apply\`: ${changed.join(', ')}`,
    'Read the differences with `tenure plan`; add them to the state file or the model files and run `tenure apply`, or undo them with it.',
  )
}
