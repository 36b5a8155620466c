/**
 * Finds periods of a batch in which a column is broken: empty, frozen, in another unit, with other texts, or flooded by one of them. An
 * export that has been wrong for some days is a small part of weeks of rows, so that the batch as a whole looks as usual.
 */
import { fourDigits } from '../figures.ts'
import type { Profile } from '../model/reference-profile.ts'
import { countTexts, findFloodedRuns, floodText } from './flooded-value.ts'
import { quantiles } from '../statistics/quantiles.ts'
import type { BatchCell, Cells } from './expectations.ts'

export interface BrokenPeriod {
  fromMs: number
  toMs: number
  /** What is wrong in it, with its figures. */
  issue: string
  /** See `ExpectationResult`. */
  required: string
  /** The rows may be real, such as those of a campaign. */
  maybeReal?: true
}

/** Equal spans of time from the first row to the last. */
export const periodsOfBatch = 20
/** A single period may be a holiday. */
const periodsInARow = 2
/** Fewer rows have no shape. */
export const minRowsOfPeriod = 50
/** The share of rows that are broken alike. */
const brokenShare = 0.9
/** The share of missing values that is unusual for the column. */
const missingBefore = 0.1
/** A spread this many times wider or narrower means another unit, or a constant. */
const maxSpread = 100
/** One new value may be a new month, or a new shop. */
const minNewTexts = 3

/** The rows of each period; empty without times. */
function rowsOfPeriods(times: Cells): { fromMs: number; toMs: number; rows: number[] }[] {
  let [first, last] = [Infinity, -Infinity]
  for (const time of times) {
    if (typeof time !== 'number') continue
    first = Math.min(first, time)
    last = Math.max(last, time)
  }
  if (!(last > first)) return []
  const lengthMs = (last - first) / periodsOfBatch
  const found = Array.from({ length: periodsOfBatch }, (_, place) => ({
    fromMs: first + place * lengthMs,
    toMs: first + (place + 1) * lengthMs,
    rows: [] as number[],
  }))
  let row = 0
  for (const time of times) {
    if (typeof time === 'number')
      found[Math.min(periodsOfBatch - 1, Math.floor((time - first) / lengthMs))]!.rows.push(row)
    row++
  }
  return found.filter(({ rows }) => rows.length >= minRowsOfPeriod)
}

/** The first broken run of periods, else a flooded one; undefined without one, and where all are broken: the batch as a whole is then. */
export function findBrokenPeriod(cells: Cells, times: Cells, reference: Profile): BrokenPeriod | undefined {
  const parts = rowsOfPeriods(times)
  const columns = parts.map(({ rows }) => rows.map((row) => cells.at(row) ?? null))
  const issueOf = reference.kind === 'number' ? numberIssues(columns, reference.edges) : textIssues(reference)
  const wasFull = missingShareOf(reference) < missingBefore
  const issues = columns.map((column) => {
    const missing = shareOf(column, (cell) => cell === null)
    return wasFull && missing > brokenShare
      ? { issue: `missing in ${percent(missing)} of the rows`, required: `at most ${percent(brokenShare)}` }
      : issueOf(column)
  })
  for (let from = 0; from < parts.length; from++) {
    let to = from
    while (to < parts.length && issues[to] !== undefined) to++
    if (to - from >= periodsInARow && to - from < parts.length)
      return { fromMs: parts[from]!.fromMs, toMs: parts[to - 1]!.toMs, ...issues[from]! }
    from = to
  }
  const [flooded] = reference.kind === 'category' ? findFloodedRuns(columns.map(countTexts)) : []
  if (flooded === undefined) return undefined
  const { from, to } = flooded
  return {
    fromMs: parts[from]!.fromMs,
    toMs: parts[to - 1]!.toMs,
    issue: floodText(flooded),
    required: 'no value that floods some periods',
    maybeReal: true,
  }
}

type IssueOf = (column: readonly BatchCell[]) => Pick<BrokenPeriod, 'issue' | 'required'> | undefined

/** The range from the 10th to the 90th percentile, beside the champion's and that of the other periods. */
function numberIssues(columns: readonly (readonly BatchCell[])[], edges: readonly number[]): IssueOf {
  const rangeOf = (column: readonly BatchCell[]) => {
    const values = column.filter((cell): cell is number => typeof cell === 'number' && Number.isFinite(cell))
    const [low, high] = quantiles(values, [0.1, 0.9])
    return typeof low === 'number' && typeof high === 'number' ? { low, high } : undefined
  }
  const before = (edges.at(-1) ?? 0) - (edges[0] ?? 0)
  const spreads = columns.flatMap((column) => {
    const range = rangeOf(column)
    return range === undefined ? [] : [range.high - range.low]
  })
  // A number that is constant in every period, such as a month, is not frozen.
  const [usual = 0] = quantiles(spreads, [0.5])
  return (column) => {
    const range = rangeOf(column)
    if (range === undefined) return undefined
    const spread = range.high - range.low
    const isWide = before > 0 && spread > maxSpread * before
    const isFrozen = (usual ?? 0) > 0 && spread < (usual ?? 0) / maxSpread
    if (!isWide && !isFrozen) return undefined
    const lies = `eight tenths of the rows lie from ${fourDigits(range.low)} to ${fourDigits(range.high)}`
    const issue = isWide
      ? `${lies}, where the champion met ${fourDigits(edges[0] ?? 0)} to ${fourDigits(edges.at(-1) ?? 0)}: another unit`
      : `${lies}, in most periods over a range of ${fourDigits(usual ?? 0)}: a frozen value`
    const limit = isWide ? `at most ${maxSpread} times the champion's range` : `1/${maxSpread} of that range`
    return { issue, required: limit }
  }
}

function textIssues({ categories, rare }: Extract<Profile, { kind: 'category' }>): IssueOf {
  // The profile does not list all values, so unknown ones cannot be determined.
  if (rare === null) return () => undefined
  const known = new Set<BatchCell>([...categories, ...rare])
  return (column) => {
    const strange = column.filter((cell) => cell !== null && !known.has(cell))
    const share = strange.length / Math.max(1, column.length)
    const texts = new Set(strange).size
    return share > brokenShare && texts >= minNewTexts
      ? {
          issue: `${percent(share)} of the rows have one of ${texts} values that the champion has never seen`,
          required: `at most ${percent(brokenShare)}`,
        }
      : undefined
  }
}

function missingShareOf({ counts }: Profile): number {
  const rows = counts.reduce((sum, count) => sum + count, 0)
  return rows === 0 ? 1 : (counts.at(-1) ?? 0) / rows
}

const shareOf = <T>(list: readonly T[], holds: (each: T) => boolean): number =>
  list.length === 0 ? 0 : list.filter(holds).length / list.length

const percent = (share: number): string => `${Number((100 * share).toFixed(1))} %`
