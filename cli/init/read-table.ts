/** Reads the first rows of a CSV for `tenure init`. */
import { isUtf8 } from 'node:buffer'
import { closeSync, openSync, readSync } from 'node:fs'
import { shown } from '../../domain/postgres-text.ts'
import {
  csvIssueText,
  formatIssue,
  looksLikeValues,
  otherFormat,
  sameNames,
  sameNamesIssue,
} from '../../domain/validation/source-issue.ts'
import { cellsOfLine, layoutOf, scanCsv } from '../../domain/validation/csv-scan.ts'
import { failure, usageError } from '../client/client.ts'

/** Only this many bytes of a larger file are read. */
const maxBytes = 16 * 1_048_576
const newlineByte = 0x0a

export interface CsvTable {
  names: string[]
  rows: string[][]
  /** Whether the file has more rows. */
  cut: boolean
}

/** Throws for a file that cannot be read as a CSV with a header and rows. */
export function readCsvTable(path: string): CsvTable {
  const bytes = readHead(path)
  const format = bytes.length === 0 ? undefined : otherFormat(bytes)
  if (format !== undefined) throw refused(`${path}: ${formatIssue(format)}`)
  const cut = bytes.length === maxBytes
  // The cut may split a character in the last line, so the check ends before that line.
  if (!isUtf8(cut ? bytes.subarray(0, bytes.lastIndexOf(newlineByte) + 1) : bytes))
    throw refused(`${path}: the text is not encoded as UTF-8: save the file as UTF-8`)
  const text = new TextDecoder().decode(bytes)
  const layout = layoutOf(text)
  const { names, skippedLines } = layout
  const delimiter = String.fromCharCode(layout.delimiter)
  const newline = String.fromCharCode(layout.newline)
  const scan = scanCsv(layout)
  scan.push(new TextEncoder().encode(cut ? text.slice(0, text.lastIndexOf(newline) + 1) : text))
  if (!cut) scan.end()
  if (scan.issue !== undefined)
    throw refused(`${path}, line ${scan.issue.line}: ${csvIssueText(scan.issue, names.length, delimiter)}`)
  const lines = recordsOf(text, delimiter, newline).slice(skippedLines + 1, cut ? -1 : undefined)
  const rows = lines
    .filter((line) => line.trim() !== '')
    .map((line) => cellsOfLine(line.replace(/\r$/, ''), delimiter))
  if (names.length < 2 || rows.length === 0)
    throw refused(`${path}: a line with the names of two columns or more is required, and rows below it`)
  if (looksLikeValues(names))
    throw refused(
      `${path}: the first line holds values (${names
        .slice(0, 5)
        .map((name) => shown(name))
        .join(', ')}) and no names: write the names of the columns above it`,
    )
  const unnamed = names.indexOf('')
  // The index of a table written by pandas has no name and stands first.
  if (unnamed > 0) throw refused(`${path}: column ${unnamed + 1} has no name: name it in the first line`)
  const same = sameNames(names)
  if (same !== undefined) throw refused(`${path}: ${sameNamesIssue(same)}`)
  return { names, rows, cut }
}

/** Splits the text into rows. A value in quotes may contain line breaks; a quote within another value is an ordinary sign. */
function recordsOf(text: string, delimiter: string, newline: string): string[] {
  const records: string[] = []
  let from = 0
  let isQuoted = false
  let mayOpen = true
  for (let at = 0; at < text.length; at++) {
    const sign = text[at]!
    if (sign === '"') {
      // After the end of a quoted value, a quote is an escaped quote of the same value.
      if (isQuoted || mayOpen) isQuoted = !isQuoted
    } else if (isQuoted) continue
    else if (sign === newline) {
      records.push(text.slice(from, at))
      from = at + 1
      mayOpen = true
    } else mayOpen = sign === delimiter
  }
  return from < text.length ? [...records, text.slice(from)] : records
}

const refused = (detail: string) =>
  failure({ code: 'refused', detail, remedy: 'Correct the file, or name another one with --from.' })

function readHead(path: string): Buffer {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch (error) {
    throw usageError(`--from ${path} cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
  try {
    const buffer = Buffer.alloc(maxBytes)
    let length = 0
    for (let read = 1; read > 0 && length < maxBytes; length += read)
      read = readSync(file, buffer, length, maxBytes - length, length)
    return buffer.subarray(0, length)
  } catch (error) {
    throw usageError(`--from ${path} cannot be read (${(error as NodeJS.ErrnoException).code})`)
  } finally {
    closeSync(file)
  }
}
