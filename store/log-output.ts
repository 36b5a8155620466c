/**
 * Writes log lines to standard output. A line that cannot be written is dropped, because the stream of pino blocks the process without end
 * when the file behind it has no room.
 */
import { writeSync } from 'node:fs'

let copy: ((line: string) => void) | undefined

/** Passes every line to `to` too. */
export const copyLines = (to: (line: string) => void): void => void (copy = to)

export const logOutput = {
  write(line: string): void {
    copy?.(line)
    try {
      for (let rest = Buffer.from(line); rest.length > 0;) rest = rest.subarray(writeSync(1, rest))
    } catch {
      // The disk is full, or the reader has ended.
    }
  },
}
