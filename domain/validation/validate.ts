/** Validates a batch against the expectations of the model file and those that its features imply. */
import { snapshotLabels, type ModelDefinition } from '../model-definition.ts'
import { judgeFlood } from './floods.ts'
import { judgeExcludedRows } from './excluded-rows.ts'
import { judgeAsTrained } from './champion-expectations.ts'
import { judgeRows, readablePattern, isPresent, isWithin, absentColumn } from './row-expectations.ts'
import {
  verdictOf,
  type Expectation,
  type ExpectationContext,
  type ExpectationResult,
  type BatchTable,
  type ValidationVerdict,
  type Cells,
  type BatchCell,
  type ColumnFinding,
  type KeptValues,
} from './expectations.ts'
import { base64LengthOf, imageFormats, imagePattern, vectorPattern } from '../values/media.ts'
import { maxBytesOf, maxLengthOf, type Feature } from '../model/features.ts'
import { maxVocabulary } from '../model/preprocessing.ts'
import { countBins, type Profile } from '../model/reference-profile.ts'
import { quantiles } from '@tenure/sequential'
import { counted, fourDigits, groupedDigits, percentText } from '../figures.ts'
import { shown } from '../postgres-text.ts'
import { taskOf } from '../tasks/tasks.ts'
import { mostlyInRange } from '../tasks/numeric.ts'

/** The expectations that features and label imply: rows that the API would refuse must not be trained on. */
export function impliedExpectations({ features, label, weights }: ModelDefinition): Expectation[] {
  const names = Object.keys(features)
  const kindOf = (name: string) =>
    features[name]?.kind === 'number' ? ('number' as const) : ('text' as const)
  const labelKind = taskOf(label.output).labelKind === 'text' ? ('text' as const) : ('number' as const)
  const labels = snapshotLabels(label.output)
  const columns = {
    ...Object.fromEntries(names.map((name) => [name, kindOf(name)])),
    ...Object.fromEntries(labels.map((name) => [name, labelKind])),
  }
  const filled = names.filter((name) => features[name]?.missing === undefined)
  const numbers = names.filter((name) => features[name]?.kind === 'number')
  return [
    { check: 'schema', columns, severity: 'block' },
    { check: 'complete', columns: [...filled, ...labels], severity: 'block' },
    ...(numbers.length > 0 ? [{ check: 'finite', columns: numbers, severity: 'block' } as const] : []),
    ...Object.entries(features).flatMap(([name, feature]) => impliedByFeature(name, feature)),
    ...taskOf(label.output).expected(label.output, labels),
    ...(weights?.column === undefined ? [] : impliedByWeight(weights.column)),
  ]
}

/** In characters. */
const maxCategoryLength = 1_000

function impliedByFeature(column: string, feature: Feature): Expectation[] {
  const severity = 'block'
  if (feature.kind === 'number') {
    const { min, max, missing } = feature
    if (min === undefined && max === undefined)
      return missing === undefined ? [] : [{ check: 'not_empty', column, severity: 'warn' }]
    const range = { min, max }
    return [{ check: 'between', column, ...range, mostly: mostlyInRange, severity }]
  }
  if (feature.kind === 'text')
    return [
      { check: 'length', column, max: maxLengthOf(feature), severity },
      { check: 'matches', column, pattern: readablePattern, severity: 'warn' },
    ]
  if (feature.kind === 'vector') {
    const found = `are no list of ${feature.length} finite numbers`
    return [{ check: 'matches', column, pattern: vectorPattern(feature.length), found, severity }]
  }
  if (feature.kind === 'image') {
    const found = `are no base64 of ${imageFormats.join(', ')}`
    return [
      { check: 'length', column, max: base64LengthOf(maxBytesOf(feature)), severity },
      { check: 'matches', column, pattern: imagePattern, found, severity },
    ]
  }
  if (feature.values !== undefined) return [{ check: 'in_set', column, values: feature.values, severity }]
  return [
    { check: 'length', column, max: maxCategoryLength, severity },
    { check: 'matches', column, pattern: readablePattern, severity },
    // Further values are encoded as "other".
    { check: 'distinct', column, max: maxVocabulary, severity: 'warn' },
  ]
}

const impliedByWeight = (column: string): Expectation[] => [
  { check: 'complete', columns: [column], severity: 'block' },
  { check: 'finite', columns: [column], severity: 'block' },
  { check: 'between', column, min: 0, severity: 'block' },
]

export function judgeValidation(
  expectations: readonly Expectation[],
  table: BatchTable,
  context: ExpectationContext,
): { verdict: ValidationVerdict; results: ExpectationResult[] } {
  const results = expectations.map(
    (each) =>
      judgeRows(each, table) ??
      judgeBatch(each, table, context) ??
      judgeAsTrained(each, table, context) ??
      judgeSwapped(each, table) ??
      judgeExcludedRows(each) ??
      judgeFlood(each) ??
      unknown(each),
  )
  return { verdict: verdictOf(table.rows, results), results }
}

/** An unknown check, from a newer model file, must not pass silently. */
const unknown = ({ check, severity }: Expectation): ExpectationResult => ({
  check,
  subject: 'batch',
  severity,
  passed: false,
  observed: null,
  message: `this build does not know the check ${check}`,
  found: 'this build does not know the check',
  required: 'a newer build',
})

// Finds two columns whose values have changed places since the champion was trained. Each column alone looks like drift, and a model
// trained on them answers callers, who have not swapped anything, wrongly.

/** Total variation distance to its own training rows above which a column is another, and to the other's below which it is that one. */
const [minOwn, maxOther] = [0.5, 0.2]
/** Fewer rows have no shape. */
const minRows = 50

/** Judges an expectation of this kind; undefined for others. */
function judgeSwapped(expectation: Expectation, table: BatchTable): ExpectationResult | undefined {
  if (expectation.check !== 'not_swapped') return undefined
  const { check, severity, references } = expectation
  const changed =
    table.rows < minRows ? [] : references.filter((each) => distance(table.columns[each.name], each) > minOwn)
  const swapped = changed.flatMap((one, place) =>
    changed
      .slice(place + 1)
      .filter(
        (other) =>
          one.kind === other.kind &&
          distance(table.columns[one.name], other) < maxOther &&
          distance(table.columns[other.name], one) < maxOther,
      )
      .map((other) => `${one.name} and ${other.name}`),
  )
  const found =
    swapped.length === 0
      ? 'no two columns have changed places'
      : `${swapped.join(', ')}: each has the values that the champion was trained on in the other`
  const remedy = swapped.length === 0 ? '' : ': correct the order of the columns, or of their names'
  return {
    check,
    subject: 'batch',
    severity,
    passed: swapped.length === 0,
    observed: swapped.length,
    message: `${found}${remedy}`,
    found,
    required: 'each column with its own values',
  }
}

/** Total variation distance of the cells to the training rows, in the bins of those; 0 for a missing column. */
function distance(cells: Cells | undefined, reference: Profile): number {
  if (cells === undefined) return 0
  const now = countBins(
    reference,
    Array.from(cells, (cell) => (typeof cell === 'boolean' ? Number(cell) : cell)),
  )
  const before = reference.counts.reduce((sum, count) => sum + count, 0)
  return (
    now.reduce(
      (sum, count, bin) =>
        sum +
        Math.abs(count / Math.max(1, cells.length) - (reference.counts[bin] ?? 0) / Math.max(1, before)),
      0,
    ) / 2
  )
}

// Judges expectations of a batch: its shape, size and age, and the statistics of its columns.

type Range = { min?: number; max?: number }
type Finding = Pick<
  ExpectationResult,
  'passed' | 'observed' | 'message' | 'found' | 'required' | 'byColumn' | 'failing'
>

/** The minimum earlier snapshots for a median. */
const minRuns = 3

/** Judges an expectation of the batch; undefined for other kinds. */
function judgeBatch(
  expectation: Expectation,
  table: BatchTable,
  context: ExpectationContext,
): ExpectationResult | undefined {
  const finding = findingOf(expectation, table, context)
  if (finding === undefined) return undefined
  const { check, severity } = expectation
  return { check, subject: 'column' in expectation ? expectation.column : 'batch', severity, ...finding }
}

function findingOf(
  expectation: Expectation,
  table: BatchTable,
  context: ExpectationContext,
): Finding | undefined {
  const onColumn = (judge: (cells: Cells) => Finding): Finding => {
    const name = 'column' in expectation ? expectation.column : ''
    const cells = table.columns[name]
    if (cells) return judge(cells)
    return { passed: false, observed: null, message: `there is no column ${name}`, ...absentColumn }
  }
  switch (expectation.check) {
    case 'schema':
      return judgeSchema(expectation.columns, table)
    case 'rows':
      return range('rows', table.rows, expectation)
    case 'rows_as_usual':
      return judgeTypicalRowCount(expectation, table.rows, context.earlierRows)
    case 'fresh':
      return judgeAge(expectation.withinMs, table, context)
    case 'values_kept':
      return judgeKept(expectation, table, context)
    case 'not_empty':
      return onColumn(judgeEmpty)
    case 'distinct':
      return onColumn((cells) => range('different values', distinctOf(cells).size, expectation))
    case 'mean':
      return onColumn((cells) => range('mean', momentsOf(cells).mean, expectation))
    case 'std':
      return onColumn((cells) => range('standard deviation', momentsOf(cells).std, expectation))
    case 'quantile':
      return onColumn((cells) => {
        const [value = null] = quantiles(numbersOf(cells), [expectation.q])
        return range(`quantile ${expectation.q}`, value, expectation)
      })
    case 'share':
      return onColumn((cells) => judgeShare(expectation, cells))
    case 'every_class':
      return onColumn((cells) => judgeClasses(expectation.classes, expectation.min, cells))
    default:
      return undefined
  }
}

function judgeEmpty(cells: Cells): Finding {
  const required = 'a value in some row'
  const some = 'some rows have a value'
  for (const cell of cells)
    if (isPresent(cell)) return { passed: true, observed: null, message: some, found: some, required }
  const message =
    cells.length === 0
      ? 'there are no rows'
      : `no row of ${groupedDigits(cells.length)} has a value: check the source of this feature`
  return { passed: false, observed: null, message, found: 'no row has a value', required }
}

function range(name: string, value: number | null, { min, max }: Range): Finding {
  const valueText = textFor(name)
  const limits = [
    min === undefined ? '' : `at least ${valueText(min)}`,
    max === undefined ? '' : `at most ${valueText(max)}`,
  ]
  const limitsText = limits.filter((limit) => limit !== '').join(' and ')
  const required = limitsText === '' ? 'any value' : limitsText
  if (value === null) {
    const message = `${name}: undefined, ${limitsText} is required`
    return { passed: false, observed: null, message, found: `the ${name} is undefined`, required }
  }
  const text = valueText(Number(value.toPrecision(6)))
  const message = `${name}: ${text}${limitsText === '' ? '' : `, ${limitsText} is required`}`
  const found = valueText === groupedDigits ? `${text} ${name}` : `the ${name} is ${text}`
  return { passed: isWithin(value, { min, max }), observed: value, message, found, required }
}

/** Only counts have their thousands apart: a mean may be a year. */
const textFor = (name: string): ((value: number) => string) =>
  name === 'rows' || name === 'different values' ? groupedDigits : String

const kinds: Record<string, (cell: BatchCell) => boolean> = {
  number: (cell) => typeof cell === 'number',
  time: (cell) => typeof cell === 'number',
  text: (cell) => typeof cell === 'string',
  flag: (cell) => typeof cell === 'boolean' || cell === 0 || cell === 1,
}

/** In percent, as shares are read. */
function judgeShare({ min, max }: Range, cells: Cells): Finding {
  const share = shareOf(cells)
  const finding = range('share', share, { min, max })
  const limits = [
    ...(min === undefined ? [] : [`at least ${percentText(min)}`]),
    ...(max === undefined ? [] : [`at most ${percentText(max)}`]),
  ]
  const found = share === null ? finding.found : `${percentText(share)} are true`
  return { ...finding, found, required: limits.join(' and ') || finding.required }
}

function judgeSchema(columns: Record<string, string>, table: BatchTable): Finding {
  const byColumn = Object.entries(columns).flatMap(([name, kind]): ColumnFinding[] => {
    const cells = table.columns[name]
    if (cells === undefined) return [{ column: name, found: 'missing', required: `a ${kind}` }]
    const strange = find(cells, (cell) => cell !== null && !kinds[kind]?.(cell))
    if (strange === undefined) return []
    return [{ column: name, found: `not a ${kind}: ${shown(strange)}`, required: `a ${kind}` }]
  })
  const count = Object.keys(columns).length
  const found = `${count - byColumn.length} of ${count} columns are as declared`
  const message =
    byColumn.length === 0
      ? `${count} columns are as declared`
      : byColumn.map((each) => `${each.column} is ${each.found}`).join('; ')
  const passed = byColumn.length === 0
  return { passed, observed: count - byColumn.length, message, found, required: 'all', byColumn }
}

function judgeTypicalRowCount(
  { minRatio, maxRatio }: { minRatio: number; maxRatio: number },
  rows: number,
  earlier: readonly number[],
): Finding {
  const few = `${earlier.length} earlier snapshots are too few to compare with`
  const required = `at least ${minRatio} and at most ${maxRatio} of the median`
  if (earlier.length < minRuns) return { passed: true, observed: null, message: few, found: few, required }
  const [median] = quantiles(earlier, [0.5])
  const ratio = median ? rows / median : null
  const finding = range('rows to the median of earlier snapshots', ratio, { min: minRatio, max: maxRatio })
  return {
    ...finding,
    message: `${finding.message} (${groupedDigits(rows)} to ${groupedDigits(median ?? 0)})`,
    found: `${counted(rows, 'row')}, ${fourDigits(ratio)} of the median ${groupedDigits(median ?? 0)}`,
    required,
  }
}

function judgeAge(withinMs: number, table: BatchTable, { asOfMs, eventAt }: ExpectationContext): Finding {
  const times = eventAt === undefined ? [] : numbersOf(table.columns[eventAt] ?? [])
  let newest = -Infinity
  for (const time of times) newest = Math.max(newest, time)
  const hours = (ms: number) => Number((ms / 3_600_000).toFixed(2))
  const required = `at most ${hours(withinMs)} h`
  const timeless = 'no row has a time'
  if (newest === -Infinity)
    return { passed: false, observed: null, message: timeless, found: timeless, required }
  const found = `the newest row is ${hours(asOfMs - newest)} h old`
  const message = `${found}, ${required} is required`
  return { passed: asOfMs - newest <= withinMs, observed: asOfMs - newest, message, found, required }
}

function judgeKept(
  { view, keepMs, sinceMs }: KeptValues,
  table: BatchTable,
  { eventAt = '' }: ExpectationContext,
): Finding {
  let older = 0
  for (const time of numbersOf(table.columns[eventAt] ?? [])) if (time < sinceMs) older++
  const retained = `those of the feature view ${view} from ${new Date(sinceMs).toISOString().slice(0, 16)}Z on (keep: ${Number((keepMs / 86_400_000).toFixed(2))} d)`
  const found =
    older === 0
      ? `no row is older than the values kept: ${retained}`
      : `${groupedDigits(older)} of ${groupedDigits(table.rows)} rows are older than the values kept, ${retained}, and look up nothing`
  const remedy = ': raise keep, and rename the view so that it reads its source again'
  const message = older === 0 ? found : `${found}${remedy}`
  return { passed: older === 0, observed: older, failing: older, message, found, required: 'none older' }
}

function judgeClasses(classes: readonly (string | number)[], min: number, cells: Cells): Finding {
  const counts = new Map<BatchCell, number>(classes.map((each) => [each, 0]))
  for (const cell of cells) {
    const count = counts.get(cell)
    if (count !== undefined) counts.set(cell, count + 1)
  }
  const minRows = Math.min(...counts.values())
  const listed = [...counts]
    .map(([name, count]) => `${String(name)}: ${count.toLocaleString('en-US')}`)
    .join(', ')
  const found = `rows of each class: ${listed}`
  const required = `at least ${min}`
  const message = `${found}; ${required} is required`
  return { passed: minRows >= min, observed: minRows, message, found, required: `${required} of each` }
}

function find(cells: Cells, holds: (cell: BatchCell) => boolean): BatchCell | undefined {
  for (const cell of cells) if (holds(cell)) return cell
  return undefined
}

function numbersOf(cells: Cells): number[] {
  const numbers: number[] = []
  for (const cell of cells) if (typeof cell === 'number' && !Number.isNaN(cell)) numbers.push(cell)
  return numbers
}

function shareOf(cells: Cells): number | null {
  let [present, hits] = [0, 0]
  for (const cell of cells) {
    if (cell !== null) present++
    if (cell === true || cell === 1) hits++
  }
  return present === 0 ? null : hits / present
}

function distinctOf(cells: Cells): Set<BatchCell> {
  const values = new Set<BatchCell>(cells)
  values.delete(null)
  return values
}

/** Mean and sample standard deviation; null where undefined. */
function momentsOf(cells: Cells): { mean: number | null; std: number | null } {
  const values = numbersOf(cells)
  if (values.length === 0) return { mean: null, std: null }
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  if (values.length < 2) return { mean, std: null }
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  return { mean, std: Math.sqrt(squares / (values.length - 1)) }
}
