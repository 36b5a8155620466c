/** Names a process beyond its id, so that another one can tell whether it still runs. */
import { readFileSync, readlinkSync } from 'node:fs'

export interface ProcessIdentity {
  /** Where process ids mean the same: the boot of a machine and the namespace of its process ids. */
  machine: string
  /** As `thisProcess`. */
  process: string
}

/** Undefined without /proc. */
export function processIdentity(): ProcessIdentity | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    return { machine: `${boot}/${readlinkSync('/proc/self/ns/pid')}`, process: thisProcess() }
  } catch {
    return undefined
  }
}

/** Process ids are reused, in a container after every restart; together with the start time they are unique. */
export const thisProcess = (): string => `${process.pid}.${startOf(process.pid) ?? 0}`

/** Whether a process of this machine, named by `thisProcess`, still runs. */
export function isAlive(owner: string): boolean {
  const [pid = '', start = ''] = owner.split('.')
  const found = startOf(Number(pid))
  if (found !== undefined || startOf(process.pid) !== undefined) return String(found) === start
  // Without /proc only the process id is known.
  return isProcess(Number(pid))
}

/** Whether a process of this machine has this id now. */
export function isProcess(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    // A process of another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Clock ticks from the start of the machine to that of the process; absent for a dead process. */
function startOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return state === 'Z' || state === 'X' ? undefined : Number(fields[18])
  } catch {
    return undefined
  }
}
