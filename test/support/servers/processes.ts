/** Reads CPU time, memory and open handles of processes from /proc. */
import { readdirSync, readFileSync } from 'node:fs'
import type { Supervision } from '../../../cli/supervisor/supervisor.ts'
import { familyOf } from './freeze.ts'

/** Kernel ticks per second. */
const ticksPerSecond = 100

/** Resident memory of a process, in MB; 0 if it has ended. */
export function rssMbOf(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1_024
  } catch {
    return 0
  }
}

/** Resident memory of a process tree, in MB. */
export const residentMb = (root: number): number =>
  Math.round(familyOf(root).reduce((sum, pid) => sum + rssMbOf(pid), 0))

/** The maximum of `residentMb`, sampled until `stop`. */
export function sampleMemory(pid: number, everyMs = 50): { stop(): number } {
  let maxMb = 0
  const sample = () => void (maxMb = Math.max(maxMb, residentMb(pid)))
  const timer = setInterval(sample, everyMs)
  return {
    stop() {
      sample()
      clearInterval(timer)
      return maxMb
    },
  }
}

/** Process → MB in memory and open handles. */
export type ProcessUsage = Record<string, { rssMb: number; handles: number }>

/** Usage of the named processes of a supervisor that run. */
export function usageOf(supervision: Supervision, names: readonly string[]): ProcessUsage {
  const usage: ProcessUsage = {}
  for (const name of names) {
    const pid = supervision.pidOf(name)
    if (pid === undefined) continue
    try {
      usage[name] = { rssMb: rssMbOf(pid), handles: readdirSync(`/proc/${pid}/fd`).length }
    } catch {
      // The process has just restarted.
    }
  }
  return usage
}

/** The cell of a process in a report. */
export const usageCell = (usage: ProcessUsage, name: string): string =>
  usage[name] === undefined ? '–' : `${usage[name].rssMb.toFixed(0)} MB, ${usage[name].handles} handles`

/** Ticks of a process, and of its children that have ended. */
function ticksOf(pid: number): { own: number; ended: number } {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    const [own = 0, system = 0, ended = 0, endedSystem = 0] = fields.slice(11, 15).map(Number)
    return { own: own + system, ended: ended + endedSystem }
  } catch {
    return { own: 0, ended: 0 }
  }
}

export interface TreeUsage {
  cpuSeconds: number
  /** By what runs: `activities/worker.ts control`, `postgres`. */
  byProcess: Record<string, number>
}

/** Starts a measurement of the CPU time of a process tree, with processes that end; the returned function reads it. */
export function watchTree(root: number, everyMs = 250): () => TreeUsage {
  const ticks = new Map<number, { name: string; own: number }>()
  const sample = () => {
    for (const pid of familyOf(root)) {
      const { own } = ticksOf(pid)
      if (own > 0) ticks.set(pid, { name: nameOf(pid) ?? ticks.get(pid)?.name ?? '', own })
    }
  }
  setInterval(sample, everyMs).unref()
  return () => {
    sample()
    const byProcess: Record<string, number> = {}
    for (const { name, own } of ticks.values())
      byProcess[name] = (byProcess[name] ?? 0) + own / ticksPerSecond
    return { cpuSeconds: Object.values(byProcess).reduce((sum, each) => sum + each, 0), byProcess }
  }
}

/** A file of this project, or else the program. */
function nameOf(pid: number): string | undefined {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
    const source = words.findIndex((each) => each.endsWith('.ts') || each.endsWith('tenure.mjs'))
    return source < 0
      ? words[0]?.split(/[ :]/)[0]?.split('/').at(-1)
      : words
          .slice(source, source + 2)
          .join(' ')
          .trim()
  } catch {
    return undefined
  }
}

/** Starts a measurement of the cores used by other process trees; the returned function ends it. */
export function watchOthers(): () => number {
  const read = () => {
    const [, ...ticks] = readFileSync('/proc/stat', 'utf8').split('\n')[0]!.split(/\s+/).map(Number)
    const [user = 0, nice = 0, system = 0, , , irq = 0, soft = 0] = ticks
    const ours = familyOf(process.pid).reduce((sum, pid) => sum + ticksOf(pid).own, 0)
    return {
      at: performance.now(),
      busy: user + nice + system + irq + soft,
      ours: ours + ticksOf(process.pid).ended,
    }
  }
  const began = read()
  return () => {
    const now = read()
    const ticks = now.busy - began.busy - (now.ours - began.ours)
    return Math.max(0, (ticks * 1_000) / ticksPerSecond / (now.at - began.at))
  }
}
