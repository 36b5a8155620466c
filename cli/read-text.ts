import { readFileSync } from 'node:fs'

/** Reads a file; returns undefined if it is absent or unreadable. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
