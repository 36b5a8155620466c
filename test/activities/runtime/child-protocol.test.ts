/** Tests how a child process receives its job. */
import { existsSync } from 'node:fs'
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

it.each(['done', 'failed', 'killed', 'hung'] as const)(
  'the folder of a job that is %s is removed when the job has ended',
  async (ending) => {
    const stop = new AbortController()
    let scratch = ''
    const child = runChild<string, string>({
      file: 'test/support/training/scratch-child.ts',
      job: { ending },
      signal: stop.signal,
      silentMs: 1_000_000,
      async onStep(path) {
        scratch = path
        expect(existsSync(path)).toBe(true)
        if (ending === 'hung') stop.abort()
      },
    })
    await (ending === 'done' ? child : expect(child).rejects.toThrow())
    expect([scratch.includes('tenure-job-'), existsSync(scratch)]).toEqual([true, false])
  },
)
