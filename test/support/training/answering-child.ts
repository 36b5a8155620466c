/** Replies to each job with its process id. */
import { takeJob } from '../../../activities/runtime/child-protocol.ts'

export interface AnsweringJob {
  does?: 'fail' | 'run out of memory' | 'hold 600 MiB' | 'never end'
}

const held: unknown[] = []

takeJob<AnsweringJob, 'begun', number>(async ({ does }, { report }) => {
  await report('begun')
  if (does === 'fail') throw new Error('it fails')
  if (does === 'never end') await new Promise(() => {})
  if (does === 'hold 600 MiB') held.push(Buffer.alloc(600 * 1_048_576, 1))
  while (does === 'run out of memory') held.push(Array.from({ length: 100_000 }, (_, index) => ({ index })))
  return process.pid
})
