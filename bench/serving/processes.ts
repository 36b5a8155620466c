/** Reads CPU time and memory of process trees from /proc. */
import { readdirSync, readFileSync } from 'node:fs'

/** Kernel ticks per second. */
const ticksPerSecond = 100

interface Usage {
  parent: number
  /** Ticks of the process and of its ended children. */
  own: number
  ended: number
}

function usages(): Map<number, Usage> {
  const found = new Map<number, Usage>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const text = readFileSync(`/proc/${name}/stat`, 'utf8')
      const fields = text
        .slice(text.lastIndexOf(')') + 2)
        .split(' ')
        .map(Number)
      const [, parent = 0] = fields
      const [own = 0, system = 0, ended = 0, endedSystem = 0] = fields.slice(11, 15)
      found.set(Number(name), { parent, own: own + system, ended: ended + endedSystem })
    } catch {
      // The process has ended meanwhile.
    }
  }
  return found
}

function familyOf(root: number, all: ReadonlyMap<number, Usage>): number[] {
  const family = [root]
  for (const member of family) for (const [pid, { parent }] of all) if (parent === member) family.push(pid)
  return family
}

/** A process and its descendants. */
export const family = (root: number): number[] => familyOf(root, usages())

/** Resident memory of a process tree, in MB. */
export function residentMb(root: number): number {
  let kb = 0
  for (const pid of family(root))
    try {
      kb += Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)
    } catch {
      // The process has ended meanwhile.
    }
  return Math.round(kb / 1_024)
}

/** Starts a measurement of the cores used by other process trees; the returned function ends it. */
export function watchOthers(): () => number {
  const read = () => {
    const [, ...ticks] = readFileSync('/proc/stat', 'utf8').split('\n')[0]!.split(/\s+/).map(Number)
    const [user = 0, nice = 0, system = 0, , , irq = 0, soft = 0] = ticks
    const all = usages()
    const ours = familyOf(process.pid, all).reduce((sum, pid) => sum + (all.get(pid)?.own ?? 0), 0)
    return {
      at: performance.now(),
      busy: user + nice + system + irq + soft,
      ours: ours + (all.get(process.pid)?.ended ?? 0),
    }
  }
  const began = read()
  return () => {
    const now = read()
    const ticks = now.busy - began.busy - (now.ours - began.ours)
    return Math.max(0, (ticks * 1_000) / ticksPerSecond / (now.at - began.at))
  }
}
