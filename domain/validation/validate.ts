/** Validates a batch against the expectations of the model file and those that its features imply. */
import { snapshotLabels, type ModelDefinition } from '../model-definition.ts'
import { judgeBatch } from './batch-expectations.ts'
import { judgeFlood } from './floods.ts'
import { judgeExcludedRows } from './excluded-rows.ts'
import { judgeAsTrained } from './champion-expectations.ts'
import { judgeRows, readablePattern } from './row-expectations.ts'
import {
  verdictOf,
  type Expectation,
  type ExpectationContext,
  type ExpectationResult,
  type BatchTable,
  type ValidationVerdict,
  type Cells,
} from './expectations.ts'
import type { Feature } from '../model/features.ts'
import { maxVocabulary } from '../model/preprocessing.ts'
import { countBins, type Profile } from '../model/reference-profile.ts'

/** The expectations that features and label imply: rows that the API would refuse must not be trained on. */
export function impliedExpectations({ features, label, weights }: ModelDefinition): Expectation[] {
  const names = Object.keys(features)
  const kindOf = (name: string) =>
    features[name]?.kind === 'number' ? ('number' as const) : ('text' as const)
  const labelKind = label.output.kind === 'classes' ? ('text' as const) : ('number' as const)
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
    ...impliedByLabel(label.output),
    ...(weights?.column === undefined ? [] : impliedByWeight(weights.column)),
  ]
}

/** The minimum share of rows within the range of a number. */
const mostlyInRange = 0.9
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
  if (feature.values !== undefined) return [{ check: 'in_set', column, values: feature.values, severity }]
  return [
    { check: 'length', column, max: maxCategoryLength, severity },
    { check: 'matches', column, pattern: readablePattern, severity },
    // Further values are encoded as "other".
    { check: 'distinct', column, max: maxVocabulary, severity: 'warn' },
  ]
}

function impliedByLabel(output: ModelDefinition['label']['output']): Expectation[] {
  const columns = snapshotLabels(output)
  const column = columns[0]!
  if (output.kind === 'classes')
    return [{ check: 'in_set', column, values: output.classes, severity: 'block' }]
  if (output.kind === 'probability')
    return [{ check: 'every_class', column, classes: [0, 1], min: 1, severity: 'block' }]
  const { min, max } = output
  const isLimited = min !== undefined || max !== undefined
  return [
    { check: 'finite', columns, severity: 'block' },
    ...(isLimited ? columns : []).map((each): Expectation => ({
      check: 'between',
      column: each,
      min,
      max,
      mostly: mostlyInRange,
      severity: 'block',
    })),
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
