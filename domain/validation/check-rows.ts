/** Turns the results of a validation into rows, in which a reader finds what is wrong, where, and by how much. */
import { counted, percentText } from '../figures.ts'
import type { ColumnFinding, ExpectationResult } from './expectations.ts'
import * as schema from '../schema.ts'

/** An expectation that is not met, for one column where it names several. */
export const checkRow = schema.record(
  {
    check: schema.textOf<ExpectationResult['check']>(),
    observed: schema.text,
    required: schema.text,
    /** `failed` quarantines the rows. */
    severity: schema.oneOf('failed', 'warning'),
  },
  {
    /** The feature or column; absent for a check of all rows. */
    column: schema.text,
    /** The value of the champion's rows. */
    champion: schema.text,
    /** The number of rows that do not comply. */
    failing: schema.count,
    /** A few of the values that do not comply. */
    examples: schema.list(schema.text),
  },
)
export type CheckRow = schema.TypeOf<typeof checkRow>

const ofAllRows: ReadonlySet<ExpectationResult['check']> = new Set([
  'schema',
  'rows',
  'rows_as_usual',
  'fresh',
  'values_kept',
  'not_swapped',
])

/** The expectations that are not met, failed ones before warnings. */
export function checkRows(results: readonly ExpectationResult[]): CheckRow[] {
  const rows = results.filter(({ passed }) => !passed).flatMap(rowsOf)
  return [
    ...rows.filter(({ severity }) => severity === 'failed'),
    ...rows.filter(({ severity }) => severity === 'warning'),
  ]
}

function rowsOf(result: ExpectationResult): CheckRow[] {
  const { check, subject, found, required, champion, failing, byColumn = [] } = result
  const examples = result.examples && [...new Set(result.examples)]
  const severity = result.severity === 'block' ? ('failed' as const) : ('warning' as const)
  if (byColumn.length === 0) {
    const column = ofAllRows.has(check) ? undefined : subject
    return [{ check, column, observed: found, required, champion, severity, failing, examples }]
  }
  return byColumn.map((each) => ({
    check,
    column: each.column,
    observed: each.found,
    required: each.required ?? required,
    champion: each.champion,
    severity,
    failing: each.failing,
  }))
}

/** How many expectations of a quarantined batch are not met: `the data failed 2 of 28 checks`. */
export const failedText = ({ failed, expectations }: { failed: number; expectations: number }): string =>
  `the data failed ${failed} of ${counted(expectations, 'check')}`

/** A row as a sentence: `size: 31 % are null, at most 5 % allowed, 0.2 % of the champion's rows`. */
export function checkSentence(row: CheckRow): string {
  const { check, column, observed, required, champion, examples: [example] = [] } = row
  const verb = /^(at most|none|no) /.test(`${required} `) ? 'allowed' : 'required'
  const compared =
    champion === undefined
      ? ''
      : champion.endsWith(' %')
        ? `, ${champion} of the champion's rows`
        : `, the champion's rows: ${champion}`
  const such = example === undefined ? '' : `, such as \`${example}\``
  return `${column ?? check.replaceAll('_', ' ')}: ${observed}${such}, ${required} ${verb}${compared}`
}

/** The first failed checks of a quarantined batch as sentences, and how many more there are. */
export function failureSentences(results: readonly ExpectationResult[], most = 5): string[] {
  const failed = checkRows(results).filter(({ severity }) => severity === 'failed')
  const sentences = failed.slice(0, most).map(checkSentence)
  const more = failed.length - sentences.length
  return more === 0 ? sentences : [...sentences, `and ${more} more`]
}

/** Its other result is of another value, or compares with an earlier champion. */
const notCompared: ReadonlySet<ExpectationResult['check']> = new Set([
  'as_trained',
  'not_swapped',
  'no_flood',
])

/** Adds the values of the champion's rows, from the results of their validation against the same expectations. */
export function withChampion(
  results: readonly ExpectationResult[],
  championResults: readonly ExpectationResult[],
): ExpectationResult[] {
  const keyOf = ({ check, subject, required }: ExpectationResult) =>
    JSON.stringify([check, subject, required])
  const byKey = new Map(championResults.map((each) => [keyOf(each), each]))
  return results.map((result) => {
    const former = byKey.get(keyOf(result))
    if (former === undefined || notCompared.has(result.check)) return result
    const byColumn = result.byColumn?.map((each) => ({ ...each, champion: columnValue(former, each) }))
    return { ...result, champion: valueOf(former), ...(byColumn && { byColumn }) }
  })
}

/** The share of failing rows, for checks of single rows. */
const valueOf = ({ mostly, observed, found }: ExpectationResult): string =>
  mostly !== undefined && typeof observed === 'number' ? percentText(1 - observed) : found

function columnValue({ byColumn, observed }: ExpectationResult, { column }: ColumnFinding) {
  const former = byColumn?.find((each) => each.column === column)
  if (former !== undefined) return former.share === undefined ? former.found : percentText(former.share)
  // A column that is not listed complies in all rows.
  return typeof observed === 'number' ? percentText(0) : undefined
}
