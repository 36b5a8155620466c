/** Runs a job of the worker in its own child process, and reads the processor time and memory of the child while it works. */
import { readFileSync } from 'node:fs'
import { setPriority } from 'node:os'
import { runChild } from '../../../activities/runtime/child-process.ts'

export interface Usage {
  /** CPU seconds of all threads. */
  cpu: number
  /** Seconds. */
  wall: number
  /** Peak resident memory so far, in MiB. */
  peakMb: number
}

export interface MeasuredChild<Step, Result> {
  result: Result
  /** Measurements at each step that the child reported. */
  steps: (Usage & { step: Step })[]
  end: Usage
}

const everyMs = 20
/** Kernel ticks per second. */
const ticksPerSecond = 100

/** Reads the usage of a process; undefined when it has ended. */
function usageOfPid(pid: number, since: number): Usage | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const cpu = (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
    const [, peak] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
    if (peak === undefined) return undefined
    return { cpu, wall: (performance.now() - since) / 1_000, peakMb: Number(peak) / 1_024 }
  } catch {
    return undefined
  }
}

/** Runs a job and measures its child. A job of the worker lowers its own priority; here it keeps the priority of its peers. */
export async function measureChild<Step, Result>(
  file: string,
  job: object,
): Promise<MeasuredChild<Step, Result>> {
  const since = performance.now()
  let pid = 0
  let last: Usage = { cpu: 0, wall: 0, peakMb: 0 }
  const look = () => (last = usageOfPid(pid, since) ?? last)
  const timer = setInterval(() => {
    look()
    try {
      setPriority(pid, 0)
    } catch {
      // The process has ended, or the user lacks permission.
    }
  }, everyMs)
  const steps: (Usage & { step: Step })[] = []
  try {
    const result = await runChild<Step, Result>({
      file,
      job,
      signal: new AbortController().signal,
      silentMs: 6_000_000,
      onStart: (started) => (pid = started),
      onStep: (step) => {
        steps.push({ ...look(), step })
        return Promise.resolve()
      },
    })
    return { result, steps, end: { ...last, wall: (performance.now() - since) / 1_000 } }
  } finally {
    clearInterval(timer)
  }
}
