/** No-op workflow that warms up a new worker: compiling workflows, loading and connecting take half a second on a busy machine. */
import { short } from './activities.ts'

export async function warmUp(): Promise<void> {
  await short.nextQueuedRelease({ model: '' })
}
