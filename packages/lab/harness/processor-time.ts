/** Reads the processor time of a process. */
import { readdirSync, readFileSync } from 'node:fs'
import { familyOf } from '../../../test/support/servers/freeze.ts'

/** Returns the CPU time of all threads in milliseconds; `stat` counts in steps of 10. */
export function cpuMs({ child }: { child: { pid?: number | undefined } }): number {
  const tasks = `/proc/${child.pid}/task`
  return readdirSync(tasks).reduce(
    (sum, task) => sum + Number(readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ')[0]) / 1e6,
    0,
  )
}

/**
 * Returns a function that reads the CPU time of a process and its descendants, including those that ended since an earlier call, in
 * milliseconds.
 */
export function watchFamily(pid: number): () => number {
  const seen = new Map<number, number>()
  return () => {
    for (const each of familyOf(pid)) {
      try {
        seen.set(each, cpuMs({ child: { pid: each } }))
      } catch {
        // It has ended meanwhile.
      }
    }
    return [...seen.values()].reduce((sum, ms) => sum + ms, 0)
  }
}
