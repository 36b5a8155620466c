/** Judges expectations of single rows against `mostly`. Missing values are left to `complete`; a column without values fails. */
import type { BatchCell, Cells, Check, Expectation, ExpectationResult, BatchTable } from './expectations.ts'
import { counted, groupedDigits, percentText } from '../figures.ts'
import { shown } from '../postgres-text.ts'

type Complies = (row: number) => boolean | 'skip'
type RowCheck = Extract<
  Check['check'],
  'unique' | 'complete' | 'complete_when' | 'finite' | 'in_set' | 'between' | 'length' | 'matches' | 'ordered'
>

/** No control characters, of which Postgres cannot keep NUL, and no sign of a text that was read in the wrong encoding. */
export const readablePattern = '^[^\\u0000-\\u0008\\u000E-\\u001F\\uFFFD]*$'

const maxExamples = 5
/** A smaller share says less than its number of rows. */
const minShownShare = 0.001

/**
 * The columns a check looks at, and how one row is tested, or each of its cells by itself; undefined for checks of another
 * kind.
 */
function testOf(
  expectation: Expectation,
  table: BatchTable,
):
  | { columns: readonly string[]; complies: Complies; each?: (cell: BatchCell | undefined) => boolean }
  | undefined {
  const column = (name: string): Cells => table.columns[name] ?? []
  const each = (name: string, test: (value: Exclude<BatchCell, null>) => boolean) => {
    const cells = column(name)
    return {
      columns: [name],
      complies: (row: number) => {
        const cell = cells.at(row)
        return cell === null || cell === undefined ? ('skip' as const) : test(cell)
      },
    }
  }
  switch (expectation.check) {
    case 'unique':
      return { columns: expectation.columns, complies: firstOfItsKind(expectation.columns.map(column)) }
    case 'complete': {
      const cells = expectation.columns.map(column)
      const complies = (row: number) => cells.every((each) => isPresent(each.at(row)))
      return { columns: expectation.columns, complies, each: isPresent }
    }
    case 'complete_when': {
      const [cells, when] = [column(expectation.column), column(expectation.when)]
      return {
        columns: [expectation.column, expectation.when],
        complies: (row) => (when.at(row) === expectation.is ? isPresent(cells.at(row)) : 'skip'),
      }
    }
    case 'finite': {
      const cells = expectation.columns.map(column)
      const isFinite = (cell: BatchCell | undefined) => cell === null || Number.isFinite(cell)
      const complies = (row: number) => cells.every((each) => isFinite(each.at(row)))
      return { columns: expectation.columns, complies, each: isFinite }
    }
    case 'in_set': {
      const values = new Set<BatchCell>(expectation.values)
      return each(expectation.column, (value) => values.has(value))
    }
    case 'between':
      return each(expectation.column, (value) => isWithin(Number(value), expectation))
    case 'length':
      return each(expectation.column, (value) => isWithin(Array.from(String(value)).length, expectation))
    case 'matches': {
      const pattern = new RegExp(expectation.pattern, expectation.flags ?? 'u')
      return each(expectation.column, (value) => pattern.test(String(value)))
    }
    case 'ordered': {
      const [low, high] = [column(expectation.low), column(expectation.high)]
      return {
        columns: [expectation.low, expectation.high],
        complies: (row) => {
          const [a, b] = [low.at(row), high.at(row)]
          return !isPresent(a) || !isPresent(b) ? 'skip' : orderOf(a) <= orderOf(b)
        },
      }
    }
    default:
      return undefined
  }
}

const moment = /^(\d{4,}-\d\d-\d\d)?[ T]?(\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(Z|[+-]\d\d(?::?\d\d)?)?$/

/** Returns the place of a number, or of a date, a time or both that were read as a text, in milliseconds. */
function orderOf(value: unknown): number {
  const number = Number(value)
  if (!Number.isNaN(number) || typeof value !== 'string') return number
  const [, date = '1970-01-01', time = '00:00', zone = 'Z'] = moment.exec(value) ?? ['', 'no date']
  const [, sign = '', hours = '', minutes = '00'] = /^([+-])(\d\d):?(\d\d)?$/.exec(zone) ?? []
  return Date.parse(`${date}T${time}${sign === '' ? 'Z' : `${sign}${hours}:${minutes}`}`)
}

/** Judges an expectation of single rows; undefined for other kinds. */
export function judgeRows(expectation: Expectation, table: BatchTable): ExpectationResult | undefined {
  const test = testOf(expectation, table)
  if (test === undefined) return undefined
  const { columns, complies, each } = test
  const result = {
    check: expectation.check as RowCheck,
    subject: columns.join(', '),
    severity: expectation.severity,
    mostly: expectation.mostly ?? 1,
  }
  const absent = columns.filter((name) => table.columns[name] === undefined)
  if (absent.length > 0)
    return {
      ...result,
      passed: false,
      observed: null,
      message: `there is no column ${absent.join(', ')}`,
      ...absentColumn,
      byColumn: absent.map((column) => ({ column, found: absentColumn.found })),
    }
  let tested = 0
  let failing = 0
  const examples: string[] = []
  const culprits = new Map<string, number>()
  for (let row = 0; row < table.rows; row++) {
    const outcome = complies(row)
    if (outcome === 'skip') continue
    tested++
    if (outcome) continue
    failing++
    if (each && columns.length > 1)
      for (const name of columns)
        if (!each(table.columns[name]?.at(row))) culprits.set(name, (culprits.get(name) ?? 0) + 1)
    const cells = columns.map((name) => table.columns[name]?.at(row) ?? null)
    // A row without any of the values is no example of one.
    if (examples.length < maxExamples && cells.some((cell) => cell !== null))
      examples.push(cells.map((cell) => shown(cell)).join(', '))
  }
  if (tested === 0) {
    const passed = expectation.check === 'complete_when'
    const message = 'no row has a value to test'
    return { ...result, passed, observed: null, message, found: message, required: 'a value in some row' }
  }
  const breach = breachOf(expectation)
  const breaches = (rows: number) =>
    rows === 0 || rows / tested >= minShownShare
      ? `${percentText(rows / tested)} ${breach}`
      : `${groupedDigits(rows)} of ${groupedDigits(tested)} rows ${breach}`
  const share = (tested - failing) / tested
  const passed = share >= result.mostly
  return {
    ...result,
    passed,
    observed: share,
    failing,
    found: breaches(failing),
    required: result.mostly === 1 ? 'none' : `at most ${percentText(Number((1 - result.mostly).toFixed(6)))}`,
    ...(culprits.size > 0 && {
      byColumn: [...culprits].map(([name, rows]) => ({
        column: name,
        found: breaches(rows),
        failing: rows,
        share: rows / tested,
      })),
    }),
    ...(examples.length > 0 && { examples }),
    message: `${groupedDigits(tested - failing)} of ${groupedDigits(tested)} rows comply: ${percent(share)} ${passed ? '≥' : '<'} ${percent(result.mostly)}${listed(culprits)}${passed ? '' : advice(expectation, examples)}`,
  }
}

/** Words what is wrong with a row that does not comply, as the end of `12 % …`. */
function breachOf(expectation: Expectation): string {
  switch (expectation.check) {
    case 'unique':
      return 'are repeated'
    case 'complete':
      return 'are null'
    case 'complete_when':
      return `are null where ${expectation.when} is ${expectation.is}`
    case 'finite':
      return 'are not finite'
    case 'in_set':
      return `are not one of ${firstOf(expectation.values)}`
    case 'between':
      return `are ${outside(expectation, 'below', 'above')}`
    case 'length':
      return `are ${outside(expectation, 'shorter than', 'longer than')} characters`
    case 'matches':
      if (expectation.found !== undefined) return expectation.found
      if (expectation.pattern === readablePattern) return 'have unreadable characters'
      return `do not match /${expectation.pattern}/${expectation.flags ?? 'u'}`
    case 'ordered':
      return `have ${expectation.low} above ${expectation.high}`
    default:
      return 'do not comply'
  }
}

const outside = ({ min, max }: { min?: number; max?: number }, below: string, above: string): string =>
  [...(min === undefined ? [] : [`${below} ${min}`]), ...(max === undefined ? [] : [`${above} ${max}`])].join(
    ' or ',
  )

const firstOf = (values: readonly (string | number)[]): string =>
  `${values.slice(0, 10).join(', ')}${values.length > 10 ? ', …' : ''}`

/** The first value that does not comply, and what is accepted instead. */
function advice(expectation: Expectation, [example]: readonly string[]): string {
  if (expectation.check === 'in_set')
    return `, such as \`${example}\`: write one of ${firstOf(expectation.values)}`
  if (['between', 'length', 'matches', 'ordered'].includes(expectation.check))
    return `, such as \`${example}\``
  return ''
}

/** The failing columns with their rows. */
const listed = (culprits: ReadonlyMap<string, number>): string =>
  culprits.size === 0
    ? ''
    : ` (${[...culprits].map(([name, rows]) => `${name}: ${counted(rows, 'row')}`).join(', ')})`

/** The words of a result without its column. */
export const absentColumn = { found: 'the column is missing', required: 'a column of this name' }

const percent = (share: number): string => `${Number((share * 100).toFixed(3))} %`
export const isPresent = (cell: BatchCell | undefined): cell is Exclude<BatchCell, null> =>
  cell !== null && cell !== undefined && !Number.isNaN(cell)
export const isWithin = (value: number, { min, max }: { min?: number; max?: number }): boolean =>
  !Number.isNaN(value) && (min === undefined || value >= min) && (max === undefined || value <= max)

/** The first row of a key passes, its repetitions fail. */
function firstOfItsKind(columns: readonly Cells[]): Complies {
  const seen = new Set<string>()
  return (row) => {
    const before = seen.size
    seen.add(
      columns.length === 1
        ? String(columns[0]?.at(row))
        : JSON.stringify(columns.map((each) => each.at(row))),
    )
    return seen.size > before
  }
}
