/**
 * Clocks that differ. A process is given a wall clock of its own, which is set while it runs as a person or a time server would
 * set it; its monotonic clock goes on. In a container no process may set the real one, and all would get it.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { checkout } from '../../../temporal.config.ts'

export interface WallClock {
  /** What the process must be started with. */
  environment: Record<string, string>
  /** Sets it this far ahead of the machine's, or behind. */
  set(aheadMs: number): void
  aheadMs(): number
}

const compiler = 'cc'

/** Clocks are made by a library of forty lines, which is compiled when it is needed. */
export const canSkew = (): boolean =>
  process.platform === 'linux' && spawnSync(compiler, ['--version']).status === 0

/** Compiles the library into a directory that every process may read, and returns a factory of clocks. */
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
        // In place, because the process has the file in its memory.
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
