/** Tests that a child process that has answered serves the next job of its kind, and no other. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { runChild, type ChildOptions } from '../../../activities/runtime/child-process.ts'
import { launcher } from '../../../temporal.config.ts'
import type { AnsweringJob } from '../../support/training/answering-child.ts'

const limitMb = 448
/** Returns the process id of the child that answered. */
const answer = (job: AnsweringJob = {}, options: Partial<ChildOptions<'begun'>> = {}): Promise<number> =>
  runChild<'begun', number>({
    file: 'test/support/training/answering-child.ts',
    job,
    signal: new AbortController().signal,
    silentMs: 200_000,
    keptFor: 'roses',
    idleMs: 3_600_000,
    ...options,
  })

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

it('a kept child serves jobs of the same text and limit; another job ends it', async () => {
  const first = await answer()
  expect(await answer()).toBe(first)
  expect(isAlive(first)).toBe(true)
  const limited = await answer({}, { limitMb })
  expect(limited).not.toBe(first)
  await expect.poll(() => isAlive(first)).toBe(false)
  const other = await answer({}, { limitMb, keptFor: 'tulips' })
  expect([first, limited]).not.toContain(other)
  const alone = await answer({}, { limitMb, keptFor: undefined })
  expect(alone).not.toBe(other)
  expect([alone, other].map(isAlive)).toEqual([false, true])
})

it('two concurrent jobs have separate children', async () => {
  const both = await Promise.all([answer(), answer()])
  expect(new Set(both).size).toBe(2)
})

it('a child is ended by an error, a cancellation, a kill, and a shortage of memory in its second job', async () => {
  const first = await answer()
  await expect(answer({ does: 'fail' })).rejects.toThrow('it fails')
  expect(isAlive(first)).toBe(false)
  const second = await answer()
  const cancelling = new AbortController()
  const cancelled = answer(
    { does: 'never end' },
    { signal: cancelling.signal, onStep: () => Promise.resolve(cancelling.abort()) },
  )
  await expect(cancelled).rejects.toThrow('cancelled')
  expect(isAlive(second)).toBe(false)
  const third = await answer()
  process.kill(third, 'SIGKILL')
  await expect.poll(() => isAlive(third)).toBe(false)
  const limited = await answer({}, { limitMb })
  expect(limited).not.toBe(third)
  await expect(answer({ does: 'run out of memory' }, { limitMb })).rejects.toMatchObject({
    code: 'out_of_memory',
  })
  expect(isAlive(limited)).toBe(false)
})

it('a child is ended after an idle time, and at once when it holds much memory', async () => {
  const idle = await answer({}, { idleMs: 1 })
  await expect.poll(() => isAlive(idle)).toBe(false)
  expect(isAlive(await answer({ does: 'hold 600 MiB' }))).toBe(false)
})

it('a kept child does not keep its parent alive, and ends with it', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [
    launcher,
    'test/support/training/keeping-parent.ts',
  ])
  expect(Number(stdout)).toBeGreaterThan(0)
  await expect.poll(() => isAlive(Number(stdout))).toBe(false)
})
