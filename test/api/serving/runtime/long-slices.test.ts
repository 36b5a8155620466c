/** Tests how a process that computes in the background is scheduled, by what Linux reports of it. */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import { expect, it } from 'vitest'
import { useLongSlices } from '../../../../api/serving/runtime/long-slices.ts'

it('has the policy of batches and the longest slice, and keeps its niceness', async () => {
  const child = spawn('nice', ['-n', '5', 'sleep', '600'], { stdio: 'ignore' })
  const fieldOf = (name: string): number =>
    Number(
      new RegExp(`^${name}\\s*:\\s*(\\d+)`, 'm').exec(readFileSync(`/proc/${child.pid}/sched`, 'utf8'))?.[1],
    )
  // The kernel maps niceness 0 to priority 120.
  await expect.poll(() => fieldOf('prio')).toBe(125)
  useLongSlices(child)
  await expect.poll(() => fieldOf('policy')).toBe(3)
  expect(fieldOf('prio')).toBe(125)
  const [major = 0, minor = 0] = release().split('.').map(Number)
  if (major > 6 || (major === 6 && minor >= 12)) expect(fieldOf('se\\.slice')).toBe(100_000_000)
  child.kill('SIGKILL')
})
