/** No-op workflow that warms up a new worker: compiling workflows, loading and connecting take half a second on a busy machine. */
import { control } from './release/activities.ts'

export async function warmUp(): Promise<void> {
  await control.nextQueuedRelease({ model: '' })
}
