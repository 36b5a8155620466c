/** Tests how a child process receives its job. */
import { expect, it } from 'vitest'
import { runChild } from '../../../activities/runtime/child-process.ts'

it('a child process started with a lower priority than its own keeps it', async () => {
  const child = runChild({
    file: 'test/support/training/low-priority-child.ts',
    job: {},
    signal: new AbortController().signal,
    silentMs: 60_000,
  })
  expect(await child).toBe(19)
})
