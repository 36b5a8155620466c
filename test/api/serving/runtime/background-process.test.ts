/** Tests how a process that computes in the background is scheduled, by what Linux reports of it. */
import { spawn, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import { afterEach, expect, it } from 'vitest'
import { runInBackground } from '../../../../api/serving/runtime/background-process.ts'

/** The numbers of the policies in sched(7). */
const [batch, idle] = [3, 5]
const started: ChildProcess[] = []
afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL')
})

function start(file: string, args: readonly string[]): ChildProcess {
  const child = spawn(file, args, { stdio: 'ignore' })
  started.push(child)
  return child
}

const fieldOf = ({ pid }: ChildProcess, name: string): number =>
  Number(new RegExp(`^${name}\\s*:\\s*(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/sched`, 'utf8'))?.[1])
const ranMs = ({ pid }: ChildProcess): number =>
  Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6

const expectPolicy = (child: ChildProcess, policy: number) =>
  expect.poll(() => fieldOf(child, 'policy')).toBe(policy)

/** Whether this process has the capability to leave the policy `SCHED_IDLE`. */
const isPrivileged = (): boolean => {
  const capabilities = /^CapEff:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'
  return ((BigInt(`0x${capabilities}`) >> 23n) & 1n) === 1n
}
/** A loop that only computes, on one processor. */
const loop = (...before: string[]): ChildProcess =>
  start('taskset', ['-c', '0', ...before, process.execPath, '-e', 'for (;;);'])

it.runIf(isPrivileged())(
  'is behind all others, but computes beside a process that only computes',
  async () => {
    const child = loop()
    loop()
    runInBackground(child)
    const beganMs = ranMs(child)
    // With SCHED_IDLE alone it would have 0.3 % of the processor, and need a minute.
    await expect.poll(() => ranMs(child) - beganMs).toBeGreaterThan(200)
    await expectPolicy(child, batch)
    // A process that wants no processor does not starve, also on a busy machine.
    child.kill('SIGSTOP')
    await expectPolicy(child, idle)
  },
)

it('has the policy of batches, with the longest slice, where the system would not let it return', async () => {
  const unprivileged = isPrivileged()
    ? ['setpriv', '--bounding-set=-sys_nice', '--inh-caps=-sys_nice', '--']
    : []
  const child = loop('nice', '-n', '5', ...unprivileged)
  const script = `import('./api/serving/runtime/background-process.ts').then((found) => found.runInBackground({ pid: ${child.pid} }))`
  const [file, ...args] = [...unprivileged, process.execPath, '--import', 'tsx', '-e', script]
  // The kernel maps niceness 0 to priority 120.
  await expect.poll(() => fieldOf(child, 'prio')).toBe(125)
  const watching = start(file, args)
  await expectPolicy(child, batch)
  expect(fieldOf(child, 'prio')).toBe(125)
  const [major = 0, minor = 0] = release().split('.').map(Number)
  if (major > 6 || (major === 6 && minor >= 12)) expect(fieldOf(child, 'se\\.slice')).toBe(100_000_000)
  await expect.poll(() => watching.exitCode).toBe(0)
  const beganMs = ranMs(child)
  await expect.poll(() => ranMs(child) - beganMs).toBeGreaterThan(200)
  expect(fieldOf(child, 'policy')).toBe(batch)
})

it('ends its watch with the process', async () => {
  const child = loop()
  runInBackground(child)
  const isWatched = (): boolean => commandsOf(process.pid).some((line) => line.endsWith(`\0${child.pid}\0`))
  await expect.poll(isWatched).toBe(true)
  child.kill('SIGKILL')
  await expect.poll(isWatched).toBe(false)
})

/** Returns the command lines of the children of a process. */
function commandsOf(pid: number): string[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean)
  return children.flatMap((each) => {
    try {
      return [readFileSync(`/proc/${each}/cmdline`, 'latin1')]
    } catch {
      // It has ended in between.
      return []
    }
  })
}
