/** Identifies a process beyond its id, so that another process can tell whether it still runs. */
import { readFileSync, readlinkSync } from 'node:fs'

export interface ProcessIdentity {
  /** The scope in which process ids are unique: the boot of a machine and the namespace of its process ids. */
  machine: string
  /** The text of `thisProcess`. */
  process: string
  /** Whether a process of this machine still runs. */
  isAlive: (process: string) => boolean
}

/** Undefined without a /proc of this process id namespace. */
export function processIdentity(): ProcessIdentity | undefined {
  if (!hasProc()) return undefined
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    return { machine: `${boot}/${readlinkSync('/proc/self/ns/pid')}`, process: thisProcess(), isAlive }
  } catch {
    return undefined
  }
}

/** For a process whose start time is unknown. */
const unknownStart = '0'

/** Process ids are reused, in a container after every restart. Together with the start time they are unique. */
export const thisProcess = (): string => `${process.pid}.${statusOf(process.pid)?.start ?? unknownStart}`

/**
 * Whether a process of this machine, identified by `thisProcess`, still runs. Also true when that is unknown, as for a process of another
 * user that /proc hides: the lease of a live replica must not be ended.
 */
export function isAlive(owner: string): boolean {
  const [pid = '', start = ''] = owner.split('.')
  const status = statusOf(Number(pid))
  if (status === undefined || start === unknownStart) return isProcess(Number(pid))
  return !status.isDead && status.start === start
}

/** Whether a process of this machine has this id now. */
export function isProcess(pid: number): boolean {
  try {
    return pid > 0 && process.kill(pid, 0)
  } catch (error) {
    // A process of another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Whether /proc shows process ids as this process sees them; in its own namespace, /proc may be that of the machine. */
function hasProc(): boolean {
  try {
    return readlinkSync('/proc/self') === String(process.pid)
  } catch {
    return false
  }
}

/** Whether the process has ended, and its start time in clock ticks since boot; undefined when /proc does not show it. */
function statusOf(pid: number): { isDead: boolean; start: string } | undefined {
  if (!hasProc()) return undefined
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { isDead: state === 'Z' || state === 'X', start: String(Number(fields[18])) }
  } catch {
    return undefined
  }
}
