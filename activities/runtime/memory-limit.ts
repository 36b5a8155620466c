/**
 * Whether a process has died for want of memory. Neither V8 nor the kernel says so to whoever started it: one aborts, the
 * other kills, and "exit code 134" has sent many a person looking for a bug that was none.
 */
import { readFile } from 'node:fs/promises'

/** As V8, the C++ library, TensorFlow and the C library put it. */
const words =
  /out of memory|array buffer allocation failed|bad_alloc|OOM when allocating|cannot allocate memory/i

/** The line that says that there was no memory left; undefined when none does. */
export const detectOutOfMemory = (lines: readonly string[]): string | undefined =>
  lines.find((line) => words.test(line))?.trim()

/**
 * How many processes of this machine the kernel has killed because memory had run out, in whichever group of them; undefined
 * where it does not tell.
 */
export async function countKernelKills(): Promise<number | undefined> {
  const text = await readFile('/proc/vmstat', 'utf8').catch(() => '')
  const [, count] = /^oom_kill (\d+)$/m.exec(text) ?? []
  return count === undefined ? undefined : Number(count)
}

/** A process that is limited: the command that starts it, and what stands before its own arguments. */
export function withMemoryLimit(limitMb: number | undefined): { execPath?: string; execArgv: string[] } {
  if (limitMb === undefined) return { execArgv: [] }
  // What is written privately counts, in V8's heap and outside of it. V8 crashes without a word when it is refused a page,
  // so its heap ends where it says so itself.
  const heap = `--max-old-space-size=${Math.floor(limitMb / 2)}`
  const shell = ['-c', 'ulimit -d "$0" && exec "$@"', String(limitMb * 1_024), process.execPath]
  return { execPath: '/bin/sh', execArgv: [...shell, heap] }
}

const everyMs = 50
/** From this share of its limit on, a crash is taken for want of memory. */
const nearlyAll = 0.75

export interface MemoryWatch {
  /** What it held when it was last looked at, in words, when that was nearly all that it may. */
  nearLimit(): string | undefined
  stop(): void
}

/** Looks from time to time what a limited process holds: native code that is refused memory may crash without a word. */
export function watchMemory(pid: number, limitMb: number): MemoryWatch {
  let heldMb = 0
  const look = async () => {
    const text = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
    const [, kib] = /^VmData:\s+(\d+) kB$/m.exec(text) ?? []
    if (kib !== undefined) heldMb = Number(kib) / 1_024
  }
  const timer = setInterval(() => void look(), everyMs)
  return {
    nearLimit: () =>
      heldMb < limitMb * nearlyAll
        ? undefined
        : `it held ${Math.round(heldMb)} of the ${limitMb} MiB that it may`,
    stop: () => clearInterval(timer),
  }
}
