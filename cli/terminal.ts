/**
 * How a command speaks. In `--json` mode the standard output holds one JSON document and nothing else, and colours
 * appear only where a person looks: escape codes in a pipe break the next program.
 */
import Table from 'cli-table3'
import { stripVTControlCharacters, styleText } from 'node:util'

type Style = Parameters<typeof styleText>[0]

export interface Terminal {
  /** Writes lines for a person, or nothing in `--json` mode. */
  say(...lines: string[]): void
  /** Writes the result: `text` for a person, `value` as JSON in `--json` mode. */
  answer(value: unknown, text: string): void
  /** Writes to the standard error. */
  complain(text: string): void
  /** Overwrites the last line when a person looks; `undefined` removes it. */
  progress(line: string | undefined): void
  /** The same for several lines; none removes them. */
  live(lines: readonly string[]): void
  paint(style: Style, text: string): string
  columns: number
  interactive: boolean
  json: boolean
}

export interface Streams {
  out: { write(text: string): unknown; isTTY?: boolean; columns?: number; hasColors?(): boolean }
  err: { write(text: string): unknown }
}

export function openTerminal({ out, err }: Streams, { json = false } = {}): Terminal {
  const interactive = out.isTTY === true && !json
  const coloured = interactive && out.hasColors?.() === true
  /** Lines that the next ones replace, and nobody has to read. */
  let overwritable = 0
  const clear = () => {
    if (overwritable > 0) out.write(`\r${overwritable > 1 ? `\u001b[${overwritable - 1}A` : ''}\u001b[0J`)
    overwritable = 0
  }
  const columns = out.columns ?? 100
  const overwrite = (lines: readonly string[]) => {
    if (!interactive) return
    clear()
    if (lines.length === 0) return
    // A line that is broken by the terminal would count as two when it is to be taken back.
    out.write(lines.map((line) => cut(line, columns - 1)).join('\n'))
    overwritable = lines.length
  }
  return {
    interactive,
    json,
    columns,
    say(...lines) {
      if (json) return
      clear()
      for (const line of lines) out.write(`${line}\n`)
    },
    answer(value, text) {
      clear()
      out.write(`${json ? JSON.stringify(value, null, 2) : text}\n`)
    },
    complain(text) {
      clear()
      err.write(`${text}\n`)
    },
    progress: (line) => overwrite(line === undefined ? [] : [line]),
    live: overwrite,
    paint: (style, text) => (coloured ? styleText(style, text, { validateStream: false }) : text),
  }
}

/** At most so many columns; one that is too long loses its colours with its end. */
function cut(line: string, columns: number): string {
  const plain = stripVTControlCharacters(line)
  return Array.from(plain).length <= columns ? line : Array.from(plain).slice(0, columns).join('')
}

/** Rows under headings, without frames, so that it reads well and cuts well. */
export function tableOf(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const none = { mid: '', left: '', right: '' }
  const table = new Table({
    head: [...headings],
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
    chars: {
      top: '',
      'top-mid': '',
      'top-left': '',
      'top-right': '',
      bottom: '',
      'bottom-mid': '',
      'bottom-left': '',
      'bottom-right': '',
      'left-mid': '',
      'mid-mid': '',
      'right-mid': '',
      middle: '',
      ...none,
    },
  })
  table.push(...rows.map((row) => [...row]))
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
}

/** A bar of `width` characters, filled to a share from 0 to 1. */
export function barOf(share: number, width: number): string {
  const full = Math.round(Math.min(Math.max(share, 0), 1) * width)
  return '█'.repeat(full) + '░'.repeat(width - full)
}

/** The number of columns a text takes, without its colours. */
export function textWidth(text: string): number {
  return stripVTControlCharacters(text).length
}
