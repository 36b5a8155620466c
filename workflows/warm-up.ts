/**
 * Does nothing, for the first time. A worker compiles its workflows, loads and connects when the first of them comes; that takes
 * half a second on a busy machine, and without this the first rollback of a bad day would wait for it.
 */
import { patient } from './release/activities.ts'

export async function warmUp(): Promise<void> {
  await patient.authorize({ names: [], model: '' })
}
