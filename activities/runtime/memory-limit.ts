/**
 * Detects that a process died of a memory shortage. V8 aborts and the kernel kills without telling the parent, which sees only an exit
 * code.
 */
import { readFile } from 'node:fs/promises'
import { totalmem } from 'node:os'

/** Matches the messages of V8, the C++ library, TensorFlow, the C library, Python with NumPy, Arrow, and R. */
const words =
  /out of memory|array buffer allocation failed|bad_alloc|OOM when allocating|cannot allocate (?:memory|vector of size)|\bMemoryError\b|Unable to allocate [\d.]+ [KMGT]iB|can't start new thread|Failed to launch worker thread/i

/** The line that reports a memory shortage; undefined without one. */
export const detectOutOfMemory = (lines: readonly string[]): string | undefined =>
  lines.find((line) => words.test(line))?.trim()

/**
 * How many processes of this machine the kernel has killed for lack of memory, in any cgroup; undefined when the system does not report
 * it.
 */
export async function countKernelKills(): Promise<number | undefined> {
  const text = await readFile('/proc/vmstat', 'utf8').catch(() => '')
  const [, count] = /^oom_kill (\d+)$/m.exec(text) ?? []
  return count === undefined ? undefined : Number(count)
}

const shareOfMachine = 0.75

/** The memory limit of a job whose memory grows with its rows, when none is configured. The machine must keep memory for predictions. */
export function memoryOfJobMb(): number {
  const bytes = Math.min(totalmem(), process.constrainedMemory() || Infinity)
  return Math.floor((bytes * shareOfMachine) / 1_048_576)
}

const everyMs = 50
/** A crash above this share of the limit counts as a memory shortage. */
const nearlyAll = 0.75

export interface MemoryWatch {
  /** The last measured memory, as text, if it was close to the limit. */
  nearLimit(): string | undefined
  stop(): void
}

/**
 * Samples the memory of a limited process, because native code may crash silently when an allocation fails. The system counts
 * `reservedMb` as data, but the process does not use them.
 */
export function watchMemory(pid: number, limitMb: number, reservedMb = 0): MemoryWatch {
  let heldMb = 0
  const look = async () => {
    const text = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
    const [, kib] = /^VmData:\s+(\d+) kB$/m.exec(text) ?? []
    if (kib !== undefined) heldMb = Number(kib) / 1_024 - reservedMb
  }
  const timer = setInterval(() => void look(), everyMs)
  return {
    nearLimit: () =>
      heldMb < limitMb * nearlyAll ? undefined : `it used ${Math.round(heldMb)} of ${limitMb} MiB`,
    stop: () => clearInterval(timer),
  }
}
