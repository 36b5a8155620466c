/** Reads from /proc what processes use. Node tells this only of its own process. */
import { readdirSync, readFileSync } from 'node:fs'

export interface ProcessUsage {
  /** Processor time of all threads so far, and of ended children. */
  cpuMs: number
  rssBytes: number
}

/** The unit of /proc/<pid>/stat, the same on every Linux that Node supports. */
const tickMs = 10

/** What a process and those below it use; undefined when /proc does not show it. Pages that they share count for each. */
export function readUsage(pid: number): ProcessUsage | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    // utime, stime, cutime and cstime of proc(5).
    const ticks = fields.slice(11, 15).reduce((sum, each) => sum + Number(each), 0)
    const [, kib = '0'] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
    return sumOf([{ cpuMs: ticks * tickMs, rssBytes: Number(kib) * 1_024 }, readChildren(pid)])
  } catch {
    return undefined
  }
}

/** What the living processes below a process use; zero where /proc shows none. */
export function readChildren(pid: number): ProcessUsage {
  try {
    const children = readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean),
    )
    return sumOf(children.flatMap((each) => readUsage(Number(each)) ?? []))
  } catch {
    return sumOf([])
  }
}

/** How long the first thread of this process has waited for a processor that other work had; undefined when /proc does not show it. */
export function readWaitMs(): number | undefined {
  try {
    return Number(readFileSync('/proc/self/schedstat', 'utf8').split(' ')[1]) / 1e6
  } catch {
    return undefined
  }
}

const sumOf = (all: readonly ProcessUsage[]): ProcessUsage =>
  all.reduce((sum, each) => ({ cpuMs: sum.cpuMs + each.cpuMs, rssBytes: sum.rssBytes + each.rssBytes }), {
    cpuMs: 0,
    rssBytes: 0,
  })

const everyMs = 100

/** Samples a process until `end`, which returns what it used by the last sample: an ended process shows nothing. */
export function watchUsage(pid: number): { end: () => { cpuMs: number; peakBytes: number } | undefined } {
  let cpuMs = 0
  let peakBytes = 0
  const look = () => {
    const usage = readUsage(pid)
    if (usage === undefined) return
    cpuMs = Math.max(cpuMs, usage.cpuMs)
    peakBytes = Math.max(peakBytes, usage.rssBytes)
  }
  look()
  const timer = setInterval(look, everyMs)
  return {
    end() {
      look()
      clearInterval(timer)
      return peakBytes === 0 ? undefined : { cpuMs, peakBytes }
    },
  }
}
