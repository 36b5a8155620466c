/**
 * Limits the memory of a pod's container by a cgroup of its own, as the kubelet does it from `resources.limits.memory`. Works where the controller
 * of version 1 is mounted; elsewhere the pods run without limits, and the page says so.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

const controller = '/sys/fs/cgroup/memory'
export const canLimitMemory = existsSync(join(controller, 'memory.limit_in_bytes'))

export interface MemoryLimit {
  limitMb: number
  /** The file by which a process joins. */
  processes: string
  /**
   * Ends what the first process of the container has left, and removes the cgroup. Returns the most that it took, with what the system keeps
   * of its files, and how many processes were killed for more.
   */
  end(): Promise<{ peakMb: number; kills: number }>
}

/** Undefined without a limit, or where none can be set. */
export function limitMemory(name: string, quantity: string | undefined): MemoryLimit | undefined {
  if (quantity === undefined || !canLimitMemory) return undefined
  const limitMb = mbOf(quantity)
  const group = join(controller, `tenure-${name}`)
  mkdirSync(group)
  writeFileSync(join(group, 'memory.limit_in_bytes'), String(limitMb * 1_048_576))
  const read = (file: string) => readFileSync(join(group, file), 'utf8')
  return {
    limitMb,
    processes: join(group, 'cgroup.procs'),
    async end() {
      for (let left = read('cgroup.procs'); left !== ''; left = read('cgroup.procs')) {
        for (const pid of left.trim().split('\n')) killIfThere(Number(pid))
        await pause(10)
      }
      const peakMb = Number(read('memory.max_usage_in_bytes')) / 1_048_576
      const kills = Number(/oom_kill (\d+)/.exec(read('memory.oom_control'))?.[1] ?? 0)
      rmdirSync(group)
      return { peakMb, kills }
    },
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended meanwhile.
  }
}

/** Of a quantity of Kubernetes, in MiB. */
function mbOf(quantity: string): number {
  const [, amount, unit] = /^(\d+)(Mi|Gi)$/.exec(quantity) ?? []
  if (amount === undefined) throw new Error(`${quantity} is no limit of memory that this test knows`)
  return Number(amount) * (unit === 'Gi' ? 1_024 : 1)
}
