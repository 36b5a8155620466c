/** Merges the JSON logs of all processes into one readable log. Redacts secrets, because servers may log them. */
import { mkdirSync, statSync } from 'node:fs'
import { appendFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { parseJson } from '../../domain/parse-json.ts'
import { redacted } from '../../domain/redact.ts'
import { visibleText } from '../../domain/visible-text.ts'

const maxBytes = 20_000_000
/** Limit of lines that wait for a slow disk, in bytes. Further lines are dropped. */
const maxPendingBytes = 4_000_000
const tailLines = 8
const levels: Readonly<Record<number, string>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'error',
  60: 'fatal',
}
/** JSON fields that are omitted. */
const omitted = new Set(['level', 'time', 'pid', 'hostname', 'msg', 'v', 'name'])

export interface MergedLog {
  path: string
  write(process: string, line: string): void
  /** The last lines of a process, to explain a failed start. */
  tail(process: string): string[]
  close(): Promise<void>
}

/** Appends to `tenure.log` and rotates a large file. `echo` receives the lines too, but of many that differ in numbers only the first three. */
export function openMergedLog(stateDir: string, echo?: (line: string) => void): MergedLog {
  const show = echo && foldRepeated(echo)
  mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  const path = join(stateDir, 'tenure.log')
  const file = openRotatedFile(path)
  const tails = new Map<string, string[]>()
  return {
    path,
    write(process, line) {
      if (line.trim() === '') return
      const readable = redacted(readableLine(process, line))
      file.append(readable)
      tails.set(process, [...(tails.get(process) ?? []), readable].slice(-tailLines))
      show?.(readable)
    },
    tail: (process) => tails.get(process) ?? [],
    close: file.close,
  }
}

/**
 * Appends lines and opens the file for each write, so that a full disk loses only the lines of that time. The next written line states how
 * many were dropped.
 */
function openRotatedFile(path: string) {
  let size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  let pending: string[] = []
  let pendingBytes = 0
  let dropped = 0
  let why = ''
  let flushing: Promise<void> | undefined
  const flush = async (): Promise<void> => {
    while (pending.length > 0) {
      if (size > maxBytes) await rename(path, `${path}.1`).then(() => (size = 0), noteFailure)
      const lines = pending
      pending = []
      pendingBytes = 0
      const note = `\n${readableLine('tenure', `${dropped} lines were dropped: ${why}`)}\n`
      const text = `${dropped > 0 ? note : ''}${lines.join('\n')}\n`
      try {
        await appendFile(path, text, { mode: 0o600 })
        size += Buffer.byteLength(text)
        dropped = 0
      } catch (error) {
        noteFailure(error)
        dropped += lines.length
      }
    }
    flushing = undefined
  }
  const noteFailure = (error: unknown) => void (why = error instanceof Error ? error.message : String(error))
  return {
    append(line: string) {
      pendingBytes += line.length
      if (pendingBytes > maxPendingBytes) dropped++
      else pending.push(line)
      // With nothing to append, the flush would finish before the assignment.
      if (pending.length > 0) flushing ??= flush()
    },
    close: () => flushing ?? Promise.resolve(),
  }
}

/** Formats `09:14:07.312 api      info  release started release=rel_1`; keeps non-JSON lines unchanged. */
export function readableLine(process: string, line: string, now = new Date()): string {
  const entry = line.startsWith('{') ? parseJson<Record<string, unknown>>(line) : undefined
  const at = typeof entry?.['time'] === 'number' ? new Date(entry['time']) : now
  const head = `${at.toISOString().slice(11, 23)} ${process.padEnd(8)}`
  if (entry === undefined) return `${head} ${visibleText(line)}`
  const level = levels[Number(entry['level'])] ?? 'info'
  const rest = Object.entries(entry)
    .filter(([name, value]) => !omitted.has(name) && value !== undefined)
    .map(([name, value]) => `${name}=${typeof value === 'object' ? JSON.stringify(value) : String(value)}`)
  return [head, level.padEnd(5), String(entry['msg'] ?? ''), ...rest]
    .filter((part) => part !== '')
    .map(oneLine)
    .join(' ')
}

/** Joins an entry into one line, so that a search finds a whole stack trace. */
const oneLine = (text: string): string => visibleText(text.split(/\s*\n\s*/).join(' | '))

/** So many lines that differ in numbers only are shown in that time; then their number follows. */
const maxRepeats = 3
const foldMs = 10_000
const maxFolded = 1_000

/** Passes lines on, but of more than three in ten seconds that differ in their numbers only, counts the rest and shows the last one. */
export function foldRepeated(
  echo: (line: string) => void,
  nowMs: () => number = () => performance.now(),
): (line: string) => void {
  const seen = new Map<string, { sinceMs: number; count: number }>()
  return (line) => {
    const key = line.slice('09:14:07.312 '.length).replaceAll(/\d+/g, '0')
    const now = nowMs()
    const before = seen.get(key)
    if (before !== undefined && now - before.sinceMs < foldMs) {
      before.count++
      if (before.count <= maxRepeats) echo(line)
      return
    }
    const folded = (before?.count ?? 0) - maxRepeats
    if (seen.size >= maxFolded) seen.clear()
    seen.set(key, { sinceMs: now, count: 1 })
    echo(folded > 0 ? `${line} (${folded} more like it before)` : line)
  }
}
