/**
 * Limits the memory of a pod's container by a cgroup, as the kubelet does for `resources.limits.memory`. Requires the version 1 controller;
 * elsewhere the pods run without limits, and the page says so.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

const controller = '/sys/fs/cgroup/memory'
export const canLimitMemory = existsSync(join(controller, 'memory.limit_in_bytes'))

export interface MemoryLimit {
  limitMb: number
  /** The file through which a process joins the cgroup. */
  processes: string
  /**
   * Kills the remaining processes of the container and removes the cgroup. Returns its peak memory, including page cache, and the number of
   * out-of-memory kills.
   */
  end(): Promise<{ peakMb: number; kills: number }>
}

/** Returns undefined without a limit, or where none can be set. */
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

/** Parses a Kubernetes quantity into MiB. */
function mbOf(quantity: string): number {
  const [, amount, unit] = /^(\d+)(Mi|Gi)$/.exec(quantity) ?? []
  if (amount === undefined) throw new Error(`${quantity} is no limit of memory that this test knows`)
  return Number(amount) * (unit === 'Gi' ? 1_024 : 1)
}
