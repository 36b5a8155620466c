/** Infers from the rows of a CSV what each column contains, and which column a model could predict. */
import { shown } from '../postgres-text.ts'
import { isDigits, readFlag, readTime } from '../values/readings.ts'
import { durationPattern, isCode, missingWord, valueIssue } from '../values/sentences.ts'
import { plainName } from './feature-name.ts'

export type ColumnUse =
  | {
      use: 'number'
      mean: number
      std: number
      whole: boolean
      /** The values as texts, when there are few. `likely`: they are probably class codes, not amounts. */
      codes?: { values: string[]; largest: number; likely: boolean }
    }
  /** `yes` is the value that reads as true, or of a label the text that counts as true. */
  | { use: 'flag'; values: string[]; yes: string; positives: number }
  | { use: 'category'; values: string[]; largest: number }
  /** `hasOffset`: whether times have an offset from UTC. `format`: of dates with the day or the month first, for `strptime`. */
  | { use: 'time'; from: string; to: string; hasOffset: boolean; format?: DateFormat }
  /** Left out, with the reason. `isKey`: the column names or counts the rows. */
  | { use: 'none'; why: string; isKey?: true }

export type InferredColumn = ColumnUse & {
  /** The name in the file. */
  column: string
  /** The name for a model file. */
  name: string
  missing: number
  rows: number
}

/** Dates such as 31.12.2026 and 12/31/2026, one way in all cells. */
type DateFormat =
  `%${'d' | 'm'}${'.' | '/' | '-'}%${'d' | 'm'}${'.' | '/' | '-'}%Y${'' | ' %H:%M' | ' %H:%M:%S'}`

/** A column with more distinct texts is not a category. */
const maxCategories = 50
/** Fewer ascending numbers may be values. */
const minCounted = 20
/** With more distinct whole numbers, or larger ones, the column more likely contains amounts than class codes. */
const maxCodes = 10
/** Class codes repeat at least this often on average. */
const minRowsOfCode = 3
/** Days, months and years in another order; numbers with a decimal comma, a currency or separators. */
const otherTimePattern = /^(\d{1,2}[./-]\d{1,2}[./-]\d{4}|\d{4}[./-]\d{1,2}[./-]\d{1,2})(\D.*)?$/
const otherNumberPattern = /^[^\d\s+-]{0,3}\s?[-+]?\d[\d.,']*\s?[^\d\s]{0,3}$/
const offsetPattern = /:.*[+-]\d\d(:?\d\d)?$/
/**
 * Names of keys, such as order_id, orderId, Order ID, INVOICE_NO. A column with another value in each row is a key if it has one; decimals
 * are measured, as a Reynolds number.
 */
const keyWords = ['id', 'key', 'uuid', 'guid', 'index', 'number', 'nr', 'no', 'ref', 'reference']
/** The last word of the names of columns whose whole numbers name something, however often each is there. */
const namingWords =
  'id uuid guid number nr no num ref reference code zip zipcode postcode plz iban ean sku phone'.split(' ')
/** The last word of the names of columns that tell persons and things apart. Their whole numbers have no order. */
const entityWords = (
  'id uuid guid nr customer client user account member patient person merchant seller buyer supplier vendor device session card ' +
  'household passenger employee student driver subscriber'
).split(' ')
/** A code such as 00123 or 01067: as a number, it would lose its zeros. */
const zeroCodePattern = /^0\d+$/
/** Whether a double holds the whole number: above 2⁵³, neighbours become one. */
const isExact = (value: string): boolean => !/^[-+]?\d+$/.test(value) || Number.isSafeInteger(Number(value))
const decimalPattern = /^[-+]?\d*\.\d*[1-9]/
const lastWordOf = (column: string): string =>
  column
    .replace(/([a-z\d])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^\p{L}\d]+/u)
    .findLast((word) => word !== '') ?? ''
const isKeyName = (column: string): boolean => column === '' || keyWords.includes(lastWordOf(column))

export function inferColumns(
  names: readonly string[],
  rows: readonly (readonly string[])[],
): InferredColumn[] {
  const taken = new Set<string>()
  return names.map((column, place) => {
    const cells = rows.map((row) => row[place]?.trim() ?? '')
    const values = cells.filter((cell) => cell !== '')
    const missing = cells.length - values.length
    const hasBlank = rows.some(
      (row) => row[place] !== undefined && row[place] !== '' && row[place].trim() === '',
    )
    const use = useOf(column, values)
    // The row reader takes a space there for a value.
    const isBroken = hasBlank && (use.use === 'number' || use.use === 'flag' || use.use === 'time')
    const base = plainName(column) ?? `column${place + 1}`
    // Under its own name, the reader of rows would read the column as a time with the year first.
    const isWritten = use.use === 'time' && use.format !== undefined
    return {
      column,
      name: freeName(isWritten ? `${base}_time` : base, taken),
      missing,
      rows: cells.length,
      ...(isBroken ? { use: 'none', why: 'a cell holds spaces only: leave it empty' } : use),
    }
  })
}

function useOf(column: string, values: readonly string[]): ColumnUse {
  const distinct = [...new Set(values)]
  if (distinct.length === 0) return { use: 'none', why: 'it is empty' }
  if (distinct.length === 1) return { use: 'none', why: `it has the value ${shown(distinct[0])} only` }
  if (distinct.length === 2 && distinct.every((value) => readFlag(value) !== undefined)) {
    const yes = distinct.find((value) => readFlag(value) === 1)
    if (yes !== undefined) {
      const positives = values.filter((value) => value === yes).length
      return { use: 'flag', values: distinct.sort(), yes, positives: positives / values.length }
    }
  }
  const isKey =
    distinct.length === values.length &&
    isKeyName(column) &&
    !values.some((value) => isDigits(value) && decimalPattern.test(value))
  if (isKey) return { use: 'none', why: 'it names the row', isKey }
  const areDigits = values.every((value) => isDigits(value))
  const codes = !areDigits
    ? undefined
    : distinct.some((value) => zeroCodePattern.test(value))
      ? 'codes with leading zeros'
      : distinct.every(isExact)
        ? undefined
        : 'whole numbers above 2⁵³, which a number rounds'
  if (areDigits && codes === undefined) {
    const numbers = values.map(Number)
    if (isCount(numbers)) return { use: 'none', why: 'it counts the rows', isKey: true }
    const mean = numbers.reduce((sum, each) => sum + each, 0) / numbers.length
    const variance = numbers.reduce((sum, each) => sum + (each - mean) ** 2, 0) / numbers.length
    const whole = numbers.every(Number.isInteger)
    const word = lastWordOf(column)
    if (
      whole &&
      distinct.length > maxCategories &&
      (entityWords.includes(word) || namingWords.includes(word))
    )
      return { use: 'none', why: manyIds(distinct.length) }
    return { use: 'number', mean, std: Math.sqrt(variance), whole, ...codesOf(values, distinct, whole) }
  }
  const format = dateFormatOf(distinct)
  if (format !== undefined || values.every(isTime)) {
    const [first = '', ...others] = distinct.map((value) => inIsoForm(value, format))
    const [from, to] = others.reduce(
      ([low, high], each) => [each < low ? each : low, each > high ? each : high],
      [first, first],
    )
    const hasOffset = distinct.some((value) => offsetPattern.test(value))
    return { use: 'time', from, to, hasOffset, ...(format && { format }) }
  }
  if (distinct.every((value) => durationPattern.test(value)))
    return { use: 'none', why: `${valueIssue('number', distinct[0]!)}${again}` }
  const otherwise = areDigits ? undefined : otherWriting(distinct)
  if (otherwise !== undefined) return { use: 'none', why: otherwise }
  if (distinct.length === values.length && values.length > minCounted)
    return { use: 'none', why: `it has another ${codes === undefined ? 'text' : 'code'} in each row` }
  if (distinct.length > maxCategories)
    return {
      use: 'none',
      why: isKeyName(column)
        ? manyIds(distinct.length)
        : `it has ${distinct.length.toLocaleString('en')} different ${codes ?? 'texts'}`,
    }
  return { use: 'category', values: distinct.sort(), largest: largestShare(values, distinct) }
}

const manyIds = (count: number): string =>
  `it has ${count.toLocaleString('en')} different ids. If one has several rows, select it in \`rows\` and name it as \`entity\` of the evaluation; if they are of persons, also as \`subject\`, so that persons can be erased`

const largestShare = (values: readonly string[], distinct: readonly string[]): number =>
  Math.max(...distinct.map((value) => values.filter((each) => each === value).length)) / values.length

function codesOf(values: readonly string[], distinct: readonly string[], whole: boolean) {
  if (distinct.length > maxCategories) return {}
  const sorted = distinct.toSorted((one, other) => Number(one) - Number(other))
  const [low, high] = [Number(sorted[0]), Number(sorted.at(-1))]
  const likely =
    whole &&
    Math.abs(low) <= 1 &&
    high <= maxCodes &&
    distinct.length <= maxCodes &&
    new Set(distinct.map(Number)).size === distinct.length &&
    values.length >= minRowsOfCode * distinct.length
  return { codes: { values: sorted, largest: largestShare(values, distinct), likely } }
}

const isMissing = (value: string): boolean => missingWord.test(value) || /^nan$/i.test(value)
const isTime = (value: string): boolean => readTime(value) !== undefined

/** The time as JavaScript reads it: with the year first, hyphens, and minutes of its offset. */
function inIsoForm(value: string, format?: DateFormat): string {
  if (format === undefined) return value.replaceAll('/', '-').replace(/(:.*[+-]\d\d)$/, '$1:00')
  const [date = '', clock] = value.split(' ')
  const [first = '', second = '', year = ''] = date.split(/[./-]/)
  const [day, month] = format.startsWith('%d') ? [first, second] : [second, first]
  const iso = `${year}-${month.padStart(2, '0')}-${day.padStart(2, '0')}`
  return clock === undefined ? iso : `${iso} ${clock.padStart(format.endsWith('%S') ? 8 : 5, '0')}`
}

/** The format of dates with the year last, if one of them has a day above 12; such dates that could be read both ways are left out. */
function dateFormatOf(distinct: readonly string[]): DateFormat | undefined {
  const [, separator, clock] =
    /^\d{1,2}([./-])\d{1,2}\1\d{4}( \d{1,2}:\d\d(?::\d\d)?)?$/.exec(distinct[0] ?? '') ?? []
  if (separator === undefined) return undefined
  const hasSeconds = clock?.split(':').length === 3
  const clockFormat = clock === undefined ? '' : hasSeconds ? ' %H:%M:%S' : ' %H:%M'
  const formats = (['d', 'm'] as const).map(
    (first) => `%${first}${separator}%${first === 'd' ? 'm' : 'd'}${separator}%Y${clockFormat}` as DateFormat,
  )
  const clockPattern = clock === undefined ? '' : ` \\d{1,2}:\\d\\d${hasSeconds ? ':\\d\\d' : ''}`
  const pattern = new RegExp(`^\\d{1,2}[${separator}]\\d{1,2}[${separator}]\\d{4}${clockPattern}$`)
  if (!distinct.every((value) => pattern.test(value))) return undefined
  const fitting = formats.filter((format) => distinct.every((value) => isTime(inIsoForm(value, format))))
  return fitting.length === 1 ? fitting[0] : undefined
}

const again = '; then run `tenure init` again with --overwrite'

/** What to write instead, when the values are times or numbers in a format that cannot be read. */
function otherWriting(distinct: readonly string[]): string | undefined {
  if (distinct.every((value) => otherTimePattern.test(value)))
    return `${valueIssue(
      'time',
      distinct.find((value) => !isTime(value))!,
    )}${again}`
  const numbers = distinct.filter((value) => !isMissing(value))
  // Few numbers with a text are categories, such as 1, 2 and unknown.
  if (numbers.length <= maxCodes || !numbers.every((value) => otherNumberPattern.test(value)))
    return undefined
  if (numbers.every(isCode)) return undefined
  const missing = distinct.find((value) => isMissing(value))
  const other = numbers.find((value) => !isDigits(value))
  const issues = [
    missing === undefined ? undefined : `\`${shown(missing)}\` is not a number: leave such cells empty`,
    other === undefined ? undefined : valueIssue('number', other),
  ]
  return `${issues.filter((issue) => issue !== undefined).join('; ')}${again}`
}

/** The column as a class label, when it has few distinct numbers. */
export function asClasses(column: InferredColumn): InferredColumn | undefined {
  if (column.use !== 'number') return column
  const { codes, column: name, name: plain, missing, rows } = column
  if (codes === undefined) return undefined
  const { values, largest } = codes
  return { use: 'category', values, largest, column: name, name: plain, missing, rows }
}

/** Two texts of which one is the column's name, such as `fraud` and `genuine` in `fraud`, as yes or no. */
export function asYesNo(
  columns: readonly InferredColumn[],
  column: InferredColumn,
  rows: readonly (readonly string[])[],
): InferredColumn {
  if (column.use !== 'category' || column.values.length !== 2) return column
  const yes = column.values.find((value) => bareName(value) === bareName(column.column))
  if (yes === undefined) return column
  const place = columns.indexOf(column)
  const positives = rows.filter((row) => row[place]?.trim() === yes).length / (column.rows - column.missing)
  const { column: name, name: plain, missing, rows: count, values } = column
  return { use: 'flag', values, yes, positives, column: name, name: plain, missing, rows: count }
}

/** Whether each number is one more than the previous one: a row index carries no information. */
const isCount = (numbers: readonly number[]): boolean =>
  numbers.length > minCounted && numbers.every((each, place) => each === numbers[0]! + place)

/** The name, with a number appended when another column has it. */
function freeName(base: string, taken: Set<string>): string {
  let name = base
  for (let count = 2; taken.has(name.toLowerCase()); count++) name = `${base}${count}`
  taken.add(name.toLowerCase())
  return name
}

const isLabelKind = ({ use }: InferredColumn): boolean =>
  use === 'flag' || use === 'category' || use === 'number'

/**
 * Names of labels, the most certain first, in lower case and without signs or a leading `is`. `class` is late, because it is a feature beside
 * `survived`; `price` is last, because it is one in tables of sales and of demand.
 */
const labelNames = (
  'label labels target y survived churn churned exited fraud fraudulent default defaulted ' +
  'outcome response diagnosis class species demand sales unitssold sold saleprice price'
).split(' ')

const bareName = (column: string): string =>
  column
    .toLowerCase()
    .replace(/[^a-z0-9]/g, '')
    .replace(/^is/, '')

/** The column whose name is usual for labels, otherwise the last column that can be a label; `why` says which. */
export function inferLabel(
  columns: readonly InferredColumn[],
): { label: InferredColumn; why: string } | undefined {
  const possible = columns.filter(isLabelKind)
  const last = possible.at(-1)
  if (last === undefined) return undefined
  for (const name of labelNames) {
    const label = possible.find((each) => bareName(each.column) === name)
    // Between others, y is a coordinate.
    if (label !== undefined && (name !== 'y' || [columns[0], columns.at(-1)].includes(label)))
      return { label, why: 'labels often have this name' }
  }
  return { label: last, why: 'it is the last column that can be predicted' }
}

/** The first column with a time in every row. */
export const inferTime = (columns: readonly InferredColumn[]): InferredColumn | undefined =>
  columns.find(({ use, missing }) => use === 'time' && missing === 0)

/** The one column named as `churn_known_at` is, with times at or after those of the rows: when their labels became known. */
export function inferKnownAt(
  columns: readonly InferredColumn[],
  rows: readonly (readonly string[])[],
  time: InferredColumn | undefined,
): InferredColumn | undefined {
  if (time === undefined) return undefined
  const timeIn = (row: readonly string[], column: InferredColumn) => momentIn(columns, row, column)
  const [found, ...others] = columns.filter(
    (each) =>
      each.use === 'time' &&
      each !== time &&
      /(?<!un)known/i.test(each.column) &&
      !rows.some((row) => timeIn(row, each) < timeIn(row, time)),
  )
  return others.length === 0 ? found : undefined
}

/** The moment in a cell in milliseconds; NaN for an empty cell. */
export function momentIn(
  columns: readonly InferredColumn[],
  row: readonly string[],
  column: InferredColumn,
): number {
  const cell = row[columns.indexOf(column)]?.trim() ?? ''
  return (
    readTime(column.use === 'time' && column.format !== undefined ? inIsoForm(cell, column.format) : cell) ??
    NaN
  )
}

/** A class with fewer rows says little about its delay. */
const minRowsOfDelay = 20

/**
 * The age at which the labels of all classes are known, in milliseconds: the 99th percentile of the delay of the class that becomes known last.
 * Undefined if no class becomes known later than another one.
 */
export function inferMatured(
  columns: readonly InferredColumn[],
  rows: readonly (readonly string[])[],
  { label, time, knownAt }: { label: InferredColumn; time: InferredColumn; knownAt: InferredColumn },
): number | undefined {
  if (label.use !== 'flag' && label.use !== 'category') return undefined
  const place = columns.indexOf(label)
  const byClass = new Map<string, number[]>()
  for (const row of rows) {
    const delayMs = momentIn(columns, row, knownAt) - momentIn(columns, row, time)
    const value = row[place]?.trim() ?? ''
    if (value === '' || !Number.isFinite(delayMs)) continue
    const found = byClass.get(value)
    if (found === undefined) byClass.set(value, [delayMs])
    else found.push(delayMs)
  }
  const delays = [...byClass.values()]
    .filter((each) => each.length >= minRowsOfDelay)
    .map((each) => each.toSorted((one, other) => one - other))
  if (delays.length < 2) return undefined
  const at = (share: number) => delays.map((sorted) => sorted[Math.ceil(share * sorted.length) - 1]!)
  const lastMs = Math.max(...at(0.99))
  const medians = at(0.5)
  return Math.max(...medians) - Math.min(...medians) > 0.1 * lastMs ? lastMs : undefined
}

/** Why the column cannot be the label; undefined when it can. */
export function labelIssue(column: InferredColumn): string | undefined {
  if (isLabelKind(column)) return undefined
  return column.use === 'none' ? column.why : 'it holds times; write the days between two times as a number'
}
