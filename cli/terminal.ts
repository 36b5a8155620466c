/**
 * Writes the output of commands. With `--json`, standard output is one JSON document; colours appear on a TTY only, because
 * escape codes in a pipe break the next program.
 */
import Table from 'cli-table3'
import { stripVTControlCharacters, styleText } from 'node:util'

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
  /** Number of lines that the next output replaces. */
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
    // Cut to the width, because a wrapped line would leave a remainder when it is erased.
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

/** Cuts a line to the given columns; a cut line loses its colours. */
function cut(line: string, columns: number): string {
  const plain = stripVTControlCharacters(line)
  return Array.from(plain).length <= columns ? line : Array.from(plain).slice(0, columns).join('')
}

/** A table without borders, for reading and for `cut`. */
export function tableOf(headings: readonly string[], rows: readonly (readonly string[])[]): string {
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
      mid: '',
      left: '',
      right: '',
    },
  })
  table.push(...rows.map((row) => [...row]))
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
}

/** A bar of `width` characters, filled to `share` (0 to 1). */
export function barOf(share: number, width: number): string {
  const full = Math.round(Math.min(Math.max(share, 0), 1) * width)
  return '█'.repeat(full) + '░'.repeat(width - full)
}

/** Columns of a text, without its colours. */
export function textWidth(text: string): number {
  return stripVTControlCharacters(text).length
}
