/** Starts a child, prints its process id, and waits. */
import { runChild } from '../../../activities/runtime/child-process.ts'

const pid = await runChild<never, number>({
  file: 'test/support/training/answering-child.ts',
  job: {},
  signal: new AbortController().signal,
  silentMs: 60_000,
  keptFor: 'any',
  idleMs: 600_000,
})
process.stdout.write(String(pid))
