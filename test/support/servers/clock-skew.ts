/**
 * Gives a process its own wall clock and changes it at run time, as a user or a time server would. The monotonic clock is unaffected. A
 * container cannot set the real clock, and a real change would affect every process.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { checkout } from '../../../temporal.config.ts'

export interface WallClock {
  /** Environment variables with which the process must start. */
  environment: Record<string, string>
  /** Sets the clock ahead of the machine's clock, or behind it, in milliseconds. */
  set(aheadMs: number): void
  aheadMs(): number
}

const compiler = 'cc'

/** Returns whether this machine can compile and preload the library. */
export const canSkew = (): boolean =>
  process.platform === 'linux' && spawnSync(compiler, ['--version']).status === 0

/** Compiles the library into a directory that every process can read, and returns a factory of clocks. */
export function clockMaker(directory: string): (name: string, aheadMs?: number) => WallClock {
  const library = join(directory, 'skew.so')
  const source = join(checkout, 'test/support/servers/clock-skew.c')
  execFileSync(compiler, ['-shared', '-fPIC', '-O2', '-o', library, source, '-ldl'])
  return (name, aheadMs = 0) => {
    const path = join(directory, `skew-of-${name}`)
    const file = openSync(path, 'w+', 0o644)
    closeSync(file)
    let ahead = aheadMs
    const clock: WallClock = {
      environment: { LD_PRELOAD: library, SKEW_FILE: path },
      set(next) {
        ahead = next
        const bytes = Buffer.alloc(8)
        bytes.writeBigInt64LE(BigInt(Math.round(next)))
        // Overwrites the file in place, because the process has mapped it into memory.
        const open = openSync(path, 'r+')
        writeSync(open, bytes, 0, 8, 0)
        closeSync(open)
      },
      aheadMs: () => ahead,
    }
    clock.set(aheadMs)
    return clock
  }
}
