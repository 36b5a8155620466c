/**
 * Writes the output of commands. Commands pass instants in ISO 8601, as the API answers them; the text has them on the clock of the
 * terminal, and names its zone once. Makes control characters visible, because the output contains texts of other users. With `--json`,
 * standard output is one JSON document. Colours appear on a TTY only, because escape codes in a pipe break the next program.
 */
import { stripVTControlCharacters, styleText } from 'node:util'
import { visibleText } from '../domain/visible-text.ts'
import { dueText, knownZone, sentenceMs, timeInSentence, timeText, zoneName } from '../domain/zoned-time.ts'

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
  /** Writes the times of a text on the clock of the terminal, for tables, which measure what they show. `answer` names the zone. */
  times(text: string, look?: 'milliseconds'): string
  /** The time zone of the terminal. */
  zone: string
  columns: number
  /** The width that tables keep; absent for a pipe, and with `--wide`. */
  tableColumns?: number
  interactive: boolean
  json: boolean
}

export interface Streams {
  out: {
    write(text: string): unknown
    isTTY?: boolean
    columns?: number
    rows?: number
    hasColors?(): boolean
  }
  err: { write(text: string): unknown }
  /** The time zone; by default that of this process, which `TZ` sets. */
  zone?: string
  /** Shows a text of more than one screen, and returns whether it could. */
  page?(text: string): boolean
}

const spinnerFrames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'] as const
const frameMs = 100
/** A shorter wait is not shown, in ms. */
const silentWaitMs = 400

export function openTerminal(
  { out, err, page, zone: given }: Streams,
  { json = false, wide = false } = {},
): Terminal {
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
  // Node has no zone for a `TZ` that it does not know, such as `:/etc/localtime`, and its clock is then in UTC.
  const own: string | undefined = given ?? new Intl.DateTimeFormat().resolvedOptions().timeZone
  const zone = knownZone(own ?? 'UTC') ?? 'UTC'
  /** Whether the answer has times whose zone is not named beside them. */
  let hasTimes = false
  const timed = (text: string, { isNamed, look }: { isNamed: boolean; look?: 'milliseconds' }): string => {
    let named: string | undefined
    return text.replaceAll(timesInText, (found) => {
      const atMs = sentenceMs(found)
      if (Number.isNaN(atMs)) return found
      const shownTime =
        look === undefined
          ? dueText({ atMs, nowMs: Date.now() }, zone, /:\d\d:\d\d/.test(found) ? 'second' : 'time')
          : timeText(atMs, zone, look)
      hasTimes ||= !isNamed
      const name = zoneName(zone, atMs)
      if (!isNamed || name === named) return shownTime
      named = name
      return shownTime.replace(/(?= \(|$)/, ` ${name}`)
    })
  }
  /** Number of lines that the next output replaces. */
  let overwritable = 0
  /** Whether these lines show a wait, which any other output replaces. */
  let isSpinning = false
  const clear = () => {
    isSpinning = false
    if (overwritable > 0) out.write(`\r${overwritable > 1 ? `\u001b[${overwritable - 1}A` : ''}\u001b[0J`)
    overwritable = 0
  }
  const paint: Terminal['paint'] = (style, text) => {
    if (!coloured) return text
    const painted = styleText(style, shown(text), { validateStream: false })
    for (const [code] of painted.matchAll(styleCode)) ownCodes.add(code)
    return painted
  }
  const columns = out.columns ?? 100
  const overwrite = (lines: readonly string[]) => {
    if (!interactive) return
    clear()
    if (lines.length === 0) return
    // No line is wider, because a line that the terminal wraps could not be erased completely.
    out.write(lines.map((line) => shown(cut(line, columns - 1))).join('\n'))
    overwritable = lines.length
  }
  return {
    interactive,
    json,
    zone,
    times: (text, look) => timed(text, { isNamed: false, look }),
    columns,
    tableColumns: wide ? undefined : out.columns,
    say(...lines) {
      if (json) return
      clear()
      for (const line of lines) out.write(`${shown(timed(line, { isNamed: true }))}\n`)
    },
    answer(value, text) {
      clear()
      const isNamed = !hasTimes && !text.includes('\n')
      const body = timed(text, { isNamed })
      const note = hasTimes ? `\n\n${paint('dim', `Times are in ${zone}`)}` : ''
      hasTimes = false
      const whole = `${json ? visibleText(JSON.stringify(value, null, 2)) : shown(`${body}${note}`)}\n`
      const isLong = interactive && out.rows !== undefined && whole.split('\n').length > out.rows
      if (!isLong || page?.(whole) !== true) out.write(whole)
    },
    complain(text) {
      clear()
      err.write(`${shown(json ? text : timed(text, { isNamed: true }))}\n`)
    },
    progress: (line) => overwrite(line === undefined ? [] : [timed(line, { isNamed: true })]),
    live: (lines) => overwrite(lines.flatMap((line) => wrapped(timed(line, { isNamed: true }), columns - 1))),
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
    paint,
  }
}

/** Colours and weights, which change no other text; captured, so that a split keeps them. */
// oxlint-disable-next-line no-control-regex -- the escape character begins the code
const styleCode = /(\u001b\[[\d;]+m)/g

/** Times of a text, also coloured ones; but not those within ids, paths, quotation marks and options, which are to be pasted. */
const timesInText = new RegExp(String.raw`(?:(?<=\u001b\[[\d;]+m)|(?<![\w/"'=\x60-]))${timeInSentence}`, 'g')

/** Cuts a line to the given columns; a cut line loses its colours. */
function cut(line: string, columns: number): string {
  const plain = stripVTControlCharacters(line)
  return Array.from(plain).length <= columns ? line : Array.from(plain).slice(0, columns).join('')
}

/** Breaks a line that is too wide between its words, so that a command at its end stays whole; a broken line loses its colours. */
export function wrapped(line: string, columns: number): string[] {
  const plain = stripVTControlCharacters(line)
  if (plain.length <= columns) return [line]
  const indent = `${/^\s*/.exec(plain)![0]}  `
  const lines: string[] = []
  for (const word of plain.trimStart().split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= columns)
      lines[lines.length - 1] = `${last} ${word}`
    else lines.push((last === undefined ? indent.slice(2) : indent) + word)
  }
  return lines
}

/** The content of a table cell; an absent one is shown as a dash. */
export type Cell = string | number | null | undefined

/**
 * Formats a table without borders, suitable for reading and for `cut`. A cell may have several lines. The cost is linear in the rows; a
 * library's cost was not. `below`: a line below each row, which widens no column.
 */
export function tableOf(
  headings: readonly string[],
  rows: readonly (readonly Cell[])[],
  below: readonly string[] = [],
): string {
  const above = headings.length > 0 ? [headings] : []
  const all = [...above, ...rows].map((row) => row.map((cell) => String(cell ?? '–').split('\n')))
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
  return all
    .flatMap((row, at) => {
      const place = at - above.length
      return [...linesOf(row), ...(place < 0 ? [] : below.slice(place, place + 1))]
    })
    .join('\n')
}

const columnGap = 2

/** Heading → a field of the row, or a function of the row. */
export type Columns<Row, Heading extends string = string> = Readonly<
  Record<Heading, (keyof Row & string) | ((row: Row, terminal: Terminal) => Cell)>
>

/** Which columns of a table a narrow terminal shows; the first column names the row and always stays whole. */
export interface ColumnOrder<Heading extends string = string> {
  /** The result of the row, which always stays, then what else says what the row is about: these go last, from the end. */
  keeps: readonly [Heading, ...Heading[]]
  /** These go first, in this order; then those named in neither list, from the right. */
  droppable?: readonly Heading[]
  /** A long text: where the row is too wide, one line below it has its beginning instead of a column. */
  ownLine?: Heading
}

/** Formats a table of rows with the same fields. On a terminal it keeps the width: columns go in their order, then the widest cells are broken. */
export function tableBy<Row, Heading extends string>(
  terminal: Terminal,
  rows: readonly Row[],
  columns: Columns<Row, Heading>,
  order: ColumnOrder<NoInfer<Heading>>,
): string {
  const cells = rows.map((row) =>
    Object.values<Columns<Row>[string]>(columns).map((of) =>
      terminal.times(String((typeof of === 'string' ? (row[of] as Cell) : of(row, terminal)) ?? '–')),
    ),
  )
  const { tableColumns: most } = terminal
  const all = Object.keys(columns).map((heading, place) => ({
    heading,
    place,
    width: Math.max(textWidth(heading), ...cells.map((row) => widthOfLines(row[place]!))),
  }))
  const isWide = most === undefined || sumOf(all, ({ width }) => width) <= most
  const long = isWide ? undefined : all.find(({ heading }) => heading === order.ownLine)
  const columnsOf = all.filter((each) => each !== long)
  const kept = isWide ? all : fitted(columnsOf, most, order)
  const hidden = columnsOf.filter(({ place }) => kept.every((each) => each.place !== place))
  const table = tableOf(
    kept.map(({ heading, width }) => shortened(heading, width)),
    cells.map((row) => kept.map(({ place, width }) => broken(row[place]!, width))),
    long && cells.map((row) => shortened(`  ${row[long.place]!.replaceAll('\n', ' ')}`, most!)),
  )
  if (hidden.length === 0 || rows.length === 0) return table
  const names = hidden.map(({ heading }) => heading || 'state').join(', ')
  return `${table}\n${terminal.paint('dim', shortened(`--wide also shows: ${names}`, most!))}`
}

interface TableColumn {
  heading: string
  place: number
  width: number
}

/** A column is cut to no fewer characters. */
const minColumn = 12

const sumOf = (columns: readonly TableColumn[], widthOf: (column: TableColumn) => number): number =>
  columns.reduce((total, each) => total + widthOf(each) + columnGap, -columnGap)

function fitted(
  all: readonly TableColumn[],
  most: number,
  { keeps: [result, ...about], droppable = [] }: ColumnOrder,
): TableColumn[] {
  let kept = [...all]
  const sum = (widthOf: (column: TableColumn) => number) => sumOf(kept, widthOf)
  const least = ({ place, width }: TableColumn) => (place === 0 ? width : Math.min(width, minColumn * 2))
  const order = [
    ...droppable,
    ...all
      .map(({ heading }) => heading)
      .filter((heading) => !about.includes(heading))
      .reverse(),
    ...about.toReversed(),
  ]
  for (const heading of order) {
    if (sum(least) <= most) break
    kept = kept.filter((each) => each.place === 0 || each.heading === result || each.heading !== heading)
  }
  for (let over = sum(({ width }) => width) - most; over > 0; over = sum(({ width }) => width) - most) {
    const widest = kept.slice(1).toSorted((one, other) => other.width - one.width)[0] ?? kept[0]!
    const next = widest.width > minColumn ? widest : kept[0]!
    if (next.width <= minColumn) break
    kept = kept.map((each) =>
      each === next ? { ...each, width: Math.max(minColumn, each.width - 1) } : each,
    )
  }
  return kept
}

const widthOfLines = (text: string): number => Math.max(...text.split('\n').map(textWidth))

/** Breaks each line of a cell between its words where it is wider; a longer word, such as an id, is cut. */
const broken = (text: string, width: number): string =>
  shortened(
    text
      .split('\n')
      .flatMap((line) => wrapped(line, width))
      .join('\n'),
    width,
  )

/** Cuts each line of a cell to the width; a cut line loses its colours. */
const shortened = (text: string, width: number): string =>
  text
    .split('\n')
    .map((line) => (textWidth(line) <= width ? line : `${cut(line, width - 1)}…`))
    .join('\n')

/** Formats names and values of one subject, one pair per line; on a terminal, long values are broken between words. */
export function factsTable(
  { paint, times, tableColumns = Infinity }: Terminal,
  facts: readonly (readonly [string, Cell])[],
): string {
  const room = tableColumns - columnGap - Math.max(...facts.map(([name]) => name.length))
  return tableOf(
    [],
    facts.map(([name, value]) => [
      paint('dim', name),
      typeof value === 'string' ? wrapped(times(value), Math.max(room, minColumn)).join('\n') : value,
    ]),
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
