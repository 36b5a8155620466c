/** Reads the processor time of a process. */
import { readdirSync, readFileSync } from 'node:fs'

/** Processor time of all threads in milliseconds; `stat` counts in steps of 10. */
export function cpuMs({ child }: { child: { pid?: number | undefined } }): number {
  const tasks = `/proc/${child.pid}/task`
  return readdirSync(tasks).reduce(
    (sum, task) => sum + Number(readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ')[0]) / 1e6,
    0,
  )
}
