/**
 * One readable log of all processes. Each writes lines of JSON; five such streams mixed on a terminal cannot be read,
 * and five files cannot be put in order. The servers' own lines are not ours, and may hold what is nobody's business: all of
 * them lose their secrets here.
 */
import { createWriteStream, existsSync, mkdirSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { redacted } from '../../domain/redact.ts'

const maxBytes = 20_000_000
const tailLines = 8
const levels: Readonly<Record<number, string>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'error',
  60: 'fatal',
}
/** What every line has and nobody reads. */
const silent = new Set(['level', 'time', 'pid', 'hostname', 'msg', 'v', 'name'])

export interface MergedLog {
  path: string
  write(process: string, line: string): void
  /** The last lines of a process, for the one who has to know why it did not start. */
  tail(process: string): string[]
  close(): Promise<void>
}

/** Appends to `tenure.log`; the one before is kept when it has grown large. `echo` gets every line too. */
export function openMergedLog(stateDir: string, echo?: (line: string) => void): MergedLog {
  mkdirSync(stateDir, { recursive: true })
  const path = join(stateDir, 'tenure.log')
  if (existsSync(path) && statSync(path).size > maxBytes) renameSync(path, `${path}.1`)
  const file = createWriteStream(path, { flags: 'a', mode: 0o640 })
  const tails = new Map<string, string[]>()
  return {
    path,
    write(process, line) {
      if (line.trim() === '') return
      const readable = redacted(readableLine(process, line))
      file.write(`${readable}\n`)
      tails.set(process, [...(tails.get(process) ?? []), readable].slice(-tailLines))
      echo?.(readable)
    },
    tail: (process) => tails.get(process) ?? [],
    close: () => new Promise((resolve) => file.end(resolve)),
  }
}

/** `09:14:07.312 api      info  release started release=rel_1`; lines that are no JSON are kept as they are. */
export function readableLine(process: string, line: string, now = new Date()): string {
  const entry = parse(line)
  const at = typeof entry?.['time'] === 'number' ? new Date(entry['time']) : now
  const head = `${at.toISOString().slice(11, 23)} ${process.padEnd(8)}`
  if (entry === undefined) return `${head} ${line}`
  const level = levels[Number(entry['level'])] ?? 'info'
  const rest = Object.entries(entry)
    .filter(([name, value]) => !silent.has(name) && value !== undefined)
    .map(([name, value]) => `${name}=${typeof value === 'object' ? JSON.stringify(value) : String(value)}`)
  return [head, level.padEnd(5), String(entry['msg'] ?? ''), ...rest]
    .filter((part) => part !== '')
    .map(oneLine)
    .join(' ')
}

/** Stack traces and reports stay readable, and a search in the log finds the whole of them. */
const oneLine = (text: string): string => text.split(/\s*\n\s*/).join(' | ')

function parse(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{')) return undefined
  try {
    return JSON.parse(line) as Record<string, unknown>
  } catch {
    return undefined
  }
}
