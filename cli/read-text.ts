import { readFileSync } from 'node:fs'

/** Reads a file; returns undefined if it is absent or unreadable. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** The value of an option of which `-` means standard input, which keeps it out of the history of a shell. */
export const textOrInput = <Value>(value: Value): Value | string =>
  value === '-' ? readFileSync(0, 'utf8').trim() : value
