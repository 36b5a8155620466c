/**
 * Scans the bytes of a CSV for broken rows, so that a short row or an unclosed quote is reported with its line. A reader that guesses the
 * format of such a file would lose the header or swallow rows.
 */
export type CsvIssue =
  /** A row has more or fewer values than the header has names. `last`: the file ends within the row. */
  | { kind: 'width'; line: number; found: number; last: boolean }
  /** The quote opened on `line` is never closed before a delimiter, or only after it has swallowed rows. */
  | { kind: 'open_quote'; line: number }
  /** The row has more bytes than `maxRowBytes`. */
  | { kind: 'too_long'; line: number }
  /** The row ends with another sign than those above it. */
  | { kind: 'line_end'; line: number; isCrlf: boolean }
  /** A line break of the other kind stands in the row, outside of quotes. */
  | { kind: 'stray_break'; line: number }
  /** A byte order mark stands before a value, as where two files are joined. */
  | { kind: 'mark'; line: number }

export interface CsvLayout {
  /** Bytes. */
  delimiter: number
  newline: number
  /** Lines before the one with the names. */
  skippedLines: number
  /** As DuckDB reads them: without surrounding spaces. */
  names: string[]
}

/** The limit of DuckDB's reader. */
export const maxRowBytes = 2_000_000

const [quoteByte, returnByte, feedByte, markByte] = [0x22, 0x0d, 0x0a, 0xef]

export interface CsvScan {
  /** Scans whole lines. */
  push(bytes: Uint8Array): void
  end(): void
  /** The first issue; nothing is scanned after it. */
  readonly issue: CsvIssue | undefined
  /** Rows that span several lines, each of which looks like a row. The caller decides whether a quote swallowed them. */
  readonly suspects: readonly { line: number; from: number; to: number }[]
  /** The line of the row `rowNumber`, counted from 1 after the header. */
  readonly lineOfRow: number | undefined
  /** The rows after the header. */
  readonly rows: number
}

const maxSuspects = 20

export function scanCsv(layout: CsvLayout, rowNumber?: number): CsvScan {
  const { delimiter, newline, skippedLines } = layout
  const width = layout.names.length
  const plain = new Uint8Array(256).fill(1)
  for (const sign of [delimiter, returnByte, feedByte, quoteByte, markByte]) plain[sign] = 0
  const otherBreak = newline === feedByte ? returnByte : feedByte
  let endsCrlf: boolean | undefined
  let issue: CsvIssue | undefined
  let lineOfRow: number | undefined
  const suspects: { line: number; from: number; to: number }[] = []
  let line = 1
  let skipping = skippedLines
  let row = -1 // The header is row 0.
  let passed = 0
  let start = { line: 1, at: 0 }
  let openedAt = 1
  let quoted = false
  let closed = false
  let fresh = true
  let delimiters = 0
  let ofLine = 0
  /** Whether every line of the row so far has as many delimiters as a row. */
  let alike = true

  const endLine = (): void => {
    alike &&= ofLine === width - 1
    ofLine = 0
    line++
  }
  const endRow = (at: number, isEmpty: boolean, last: boolean): void => {
    if (skipping > 0) skipping--
    else if (!isEmpty || width === 1) {
      row++
      if (delimiters !== width - 1) issue ??= { kind: 'width', line: start.line, found: delimiters + 1, last }
      if (at - start.at > maxRowBytes) issue ??= { kind: 'too_long', line: start.line }
      if (line - start.line > 1 && alike && width > 2 && suspects.length < maxSuspects)
        suspects.push({ line: start.line, from: start.at, to: at })
      if (row === rowNumber) lineOfRow = start.line
    }
    delimiters = 0
    closed = false
    fresh = true
    alike = true
    start = { line, at: at + 1 }
  }
  return {
    push(bytes) {
      for (let place = 0; place < bytes.length && issue === undefined; place++) {
        const byte = bytes[place]!
        if (byte === newline) {
          const isCrlf = bytes[place - 1] === returnByte
          if (!quoted && skipping === 0 && newline === feedByte && (endsCrlf ??= isCrlf) !== isCrlf)
            issue = { kind: 'line_end', line, isCrlf }
          endLine()
          if (quoted) continue
          const length = passed + place - start.at
          const isEmpty = length === 0 || (length === 1 && bytes[place - 1] === returnByte)
          endRow(passed + place, isEmpty, false)
        } else if (byte === delimiter) {
          ofLine++
          if (quoted) continue
          delimiters++
          fresh = true
          closed = false
        } else if (byte === quoteByte) {
          if (quoted) {
            quoted = false
            closed = true
          } else if (fresh || closed) {
            // A quote after a closed one is an escaped quote of the same value.
            if (fresh) openedAt = line
            quoted = true
            closed = false
            fresh = false
          }
        } else {
          if (
            byte === otherBreak &&
            !quoted &&
            skipping === 0 &&
            ![newline, undefined].includes(bytes[place + 1])
          )
            issue = { kind: 'stray_break', line }
          if (byte === markByte && fresh && !quoted && isMark(bytes, place)) {
            if (passed + place > 0) issue = { kind: 'mark', line }
            place += 2
            continue
          }
          if (closed && byte !== returnByte && byte !== 0x20) issue = { kind: 'open_quote', line: openedAt }
          fresh = false
          // Plain bytes are the most frequent; a tight loop takes a third of the time.
          if (!closed) while (plain[bytes[place + 1]!] === 1) place++
        }
      }
      passed += bytes.length
      if (quoted && passed - start.at > maxRowBytes) issue ??= { kind: 'too_long', line: start.line }
    },
    end() {
      if (issue !== undefined) return
      if (quoted) issue = { kind: 'open_quote', line: openedAt }
      else if (passed > start.at) {
        endLine()
        endRow(passed, false, true)
      }
    },
    get issue() {
      return issue
    },
    get suspects() {
      return suspects
    },
    get lineOfRow() {
      return lineOfRow
    },
    get rows() {
      return row
    },
  }
}

const isMark = (bytes: Uint8Array, place: number): boolean =>
  bytes[place + 1] === 0xbb && bytes[place + 2] === 0xbf

/** The values of one line, without their quotes. */
export const valuesOfLine = (text: string, delimiter: string): string[] =>
  cellsOfLine(text, delimiter).map((cell) => cell.trim())

/** With the spaces around the values. */
export const cellsOfLine = (text: string, delimiter: string): string[] => splitLine(text, delimiter).cells

function splitLine(text: string, delimiter: string): { cells: string[]; isOpen: boolean } {
  const values: string[] = []
  let value = ''
  let quoted = false
  for (let place = 0; place < text.length; place++) {
    const sign = text[place]!
    if (quoted && sign === '"' && text[place + 1] === '"') value += text[place++]
    else if (sign === '"' && (quoted || value === '')) quoted = !quoted
    else if (sign === delimiter && !quoted) {
      values.push(value)
      value = ''
    } else value += sign
  }
  return { cells: [...values, value], isOpen: quoted }
}

/** The lines that the first row spans: a quoted name may have a line break. */
function firstRecord(lines: readonly string[], newline: string, delimiter: string): string {
  const ofLines = (count: number) => lines.slice(0, count).join(newline).replace(/\r$/, '')
  for (let count = 1; count <= Math.min(lines.length, maxHeaderLines); count++)
    if (!splitLine(ofLines(count), delimiter).isOpen) return ofLines(count)
  return ofLines(1)
}

const maxHeaderLines = 100
const delimiters = [',', ';', '\t', '|']

/** The layout of a file from its first lines; comments before the names are skipped. */
export function layoutOf(head: string): CsvLayout {
  const sign = head.includes('\n') ? '\n' : '\r'
  const lines = head.split(sign)
  const skippedLines = Math.max(
    0,
    lines.findIndex((line) => !line.startsWith('#') && line.trim() !== ''),
  )
  const below = lines.slice(skippedLines)
  const found = delimiters.map((delimiter) => ({
    delimiter,
    names: valuesOfLine(firstRecord(below, sign, delimiter), delimiter),
  }))
  const { delimiter, names } = found.reduce((best, each) =>
    each.names.length > best.names.length ? each : best,
  )
  return { delimiter: delimiter.charCodeAt(0), newline: sign.charCodeAt(0), skippedLines, names }
}
