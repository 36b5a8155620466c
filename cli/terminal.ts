/**
 * Writes the output of commands. Makes control characters visible, because the output contains texts of other users. With `--json`,
 * standard output is one JSON document. Colours appear on a TTY only, because escape codes in a pipe break the next program.
 */
import { stripVTControlCharacters, styleText } from 'node:util'
import { visibleText } from '../domain/visible-text.ts'

type Style = Parameters<typeof styleText>[0]

export interface Terminal {
  /** Writes lines of text; nothing in `--json` mode. */
  say(...lines: string[]): void
  /** Writes the result: `text`, or `value` as JSON in `--json` mode. */
  answer(value: unknown, text: string): void
  /** Writes to standard error. */
  complain(text: string): void
  /** Overwrites the last line on a TTY; `undefined` removes it. */
  progress(line: string | undefined): void
  /** Overwrites several lines on a TTY; an empty list removes them. */
  live(lines: readonly string[]): void
  /** Shows on a TTY what a call waits for once it takes long, until the returned function is called. */
  waiting(what: string): () => void
  paint(style: Style, text: string): string
  columns: number
  interactive: boolean
  json: boolean
}

export interface Streams {
  out: { write(text: string): unknown; isTTY?: boolean; columns?: number; hasColors?(): boolean }
  err: { write(text: string): unknown }
}

const spinnerFrames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'] as const
const frameMs = 100
/** A shorter wait is not shown, in ms. */
const silentWaitMs = 400

export function openTerminal({ out, err }: Streams, { json = false } = {}): Terminal {
  const interactive = out.isTTY === true && !json
  const coloured = interactive && out.hasColors?.() === true
  /** Escape codes that this terminal writes itself. */
  const ownCodes = new Set(['\u001b[0m'])
  const shown = (text: string): string =>
    coloured
      ? text
          .split(styleCode)
          .map((part) => (ownCodes.has(part) ? part : visibleText(part)))
          .join('')
      : visibleText(text)
  /** Number of lines that the next output replaces. */
  let overwritable = 0
  /** Whether these lines show a wait, which any other output replaces. */
  let isSpinning = false
  const clear = () => {
    isSpinning = false
    if (overwritable > 0) out.write(`\r${overwritable > 1 ? `\u001b[${overwritable - 1}A` : ''}\u001b[0J`)
    overwritable = 0
  }
  const columns = out.columns ?? 100
  const overwrite = (lines: readonly string[]) => {
    if (!interactive) return
    clear()
    if (lines.length === 0) return
    // Cut to the width, because a wrapped line could not be erased completely.
    out.write(lines.map((line) => shown(cut(line, columns - 1))).join('\n'))
    overwritable = lines.length
  }
  return {
    interactive,
    json,
    columns,
    say(...lines) {
      if (json) return
      clear()
      for (const line of lines) out.write(`${shown(line)}\n`)
    },
    answer(value, text) {
      clear()
      out.write(`${json ? visibleText(JSON.stringify(value, null, 2)) : shown(text)}\n`)
    },
    complain(text) {
      clear()
      err.write(`${shown(text)}\n`)
    },
    progress: (line) => overwrite(line === undefined ? [] : [line]),
    live: overwrite,
    waiting(what) {
      if (!interactive) return () => {}
      const since = performance.now()
      let frame = 0
      const timer = setInterval(() => {
        if (performance.now() - since < silentWaitMs || (overwritable > 0 && !isSpinning)) return
        overwrite([`${spinnerFrames[frame++ % spinnerFrames.length]} ${what}`])
        isSpinning = true
      }, frameMs)
      return () => {
        clearInterval(timer)
        if (isSpinning) clear()
      }
    },
    paint(style, text) {
      if (!coloured) return text
      const painted = styleText(style, shown(text), { validateStream: false })
      for (const [code] of painted.matchAll(styleCode)) ownCodes.add(code)
      return painted
    },
  }
}

/** Colours and weights, which change no other text; captured, so that a split keeps them. */
// oxlint-disable-next-line no-control-regex -- the escape character begins the code
const styleCode = /(\u001b\[[\d;]+m)/g

/** Cuts a line to the given columns; a cut line loses its colours. */
function cut(line: string, columns: number): string {
  const plain = stripVTControlCharacters(line)
  return Array.from(plain).length <= columns ? line : Array.from(plain).slice(0, columns).join('')
}

/** The content of a table cell; an absent one is shown as a dash. */
export type Cell = string | number | null | undefined

/**
 * Formats a table without borders, suitable for reading and for `cut`. A cell may have several lines. The cost is linear in the rows; a
 * library's cost was not.
 */
export function tableOf(headings: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const all = [...(headings.length > 0 ? [headings] : []), ...rows].map((row) =>
    row.map((cell) => String(cell ?? '–').split('\n')),
  )
  const widths: number[] = []
  for (const row of all)
    for (const [place, lines] of row.entries())
      for (const line of lines) widths[place] = Math.max(widths[place] ?? 0, textWidth(line))
  const linesOf = (row: readonly string[][]): string[] =>
    Array.from({ length: Math.max(...row.map((lines) => lines.length)) }, (_, at) =>
      row
        .map((lines, place) => {
          const line = lines[at] ?? ''
          return line + ' '.repeat((widths[place] ?? 0) + columnGap - textWidth(line))
        })
        .join('')
        .trimEnd(),
    )
  return all.flatMap(linesOf).join('\n')
}

const columnGap = 2

/** Heading → a field of the row, or a function of the row. */
export type Columns<Row> = Readonly<
  Record<string, (keyof Row & string) | ((row: Row, terminal: Terminal) => Cell)>
>

/** Formats a table of rows with the same fields. */
export function tableBy<Row>(terminal: Terminal, rows: readonly Row[], columns: Columns<Row>): string {
  const cells = Object.values(columns)
  return tableOf(
    Object.keys(columns),
    rows.map((row) => cells.map((of) => (typeof of === 'string' ? (row[of] as Cell) : of(row, terminal)))),
  )
}

/** Formats names and values of one subject, one pair per line. */
export function factsTable({ paint }: Terminal, facts: readonly (readonly [string, Cell])[]): string {
  return tableOf(
    [],
    facts.map(([name, value]) => [paint('dim', name), value]),
  )
}

/** Draws a bar of `width` characters, filled to `share` (0 to 1). */
export function barOf(share: number, width: number): string {
  const full = Math.round(Math.min(Math.max(share, 0), 1) * width)
  return '█'.repeat(full) + '░'.repeat(width - full)
}

/** Returns the width of a text in columns, without its colours. */
export function textWidth(text: string): number {
  return stripVTControlCharacters(text).length
}
