/**
 * Finds periods of a batch in which a column is broken: empty, frozen, in another unit, with other texts, or flooded by one of them. An
 * export that has been wrong for some days is a small part of weeks of rows, so that the batch as a whole looks as usual.
 */
import { fourDigits } from '../figures.ts'
import {
  edgeNear,
  type CategoryProfile,
  type NumberProfile,
  type Profile,
} from '../model/reference-profile.ts'
import { countTexts, findFloodedRuns, floodText } from './flooded-value.ts'
import { quantiles, sumOf } from '@tenure/sequential'
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
  const issueOf = reference.kind === 'number' ? numberIssues(columns, reference) : textIssues(reference)
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

/** From the 10th to the 90th percentile. */
export interface UsualRange {
  low: number
  high: number
  /** The value of so many rows that the range is that of the other rows; in another unit, a zero is still a zero. */
  without?: number
}

export function usualRange(profile: NumberProfile): UsualRange {
  const rangeOf = (of: NumberProfile) => ({ low: edgeNear(of, 0.1) ?? 0, high: edgeNear(of, 0.9) ?? 0 })
  const range = rangeOf(profile)
  if (range.low < range.high) return range
  const counts = profile.counts.with(profile.edges.indexOf(range.low) + 1, 0)
  if (sumOf(counts.slice(0, -1)) < minRowsOfPeriod) return range
  return { ...rangeOf({ ...profile, counts }), without: range.low }
}

/** The range of the cells that compares with the champion's; undefined for too few. */
export function rangeOfCells(cells: Iterable<BatchCell>, { without }: UsualRange): UsualRange | undefined {
  const values: number[] = []
  for (const cell of cells)
    if (typeof cell === 'number' && Number.isFinite(cell) && cell !== without) values.push(cell)
  const [low, high] = quantiles(values, [0.1, 0.9])
  if (typeof low !== 'number' || typeof high !== 'number') return undefined
  if (without === undefined) return { low, high }
  return values.length < minRowsOfPeriod ? undefined : { low, high, without }
}

/** Where most rows lie. */
export const rangeText = ({ low, high, without }: UsualRange): string =>
  `eight tenths of the rows${without === undefined ? '' : ` without ${fourDigits(without)}`} lie from ${fourDigits(low)} to ${fourDigits(high)}`

/** The range from the 10th to the 90th percentile, beside the champion's and that of the other periods. */
function numberIssues(columns: readonly (readonly BatchCell[])[], reference: NumberProfile): IssueOf {
  const champion = usualRange(reference)
  const rangeOf = (column: readonly BatchCell[]) => rangeOfCells(column, champion)
  const before = champion.high - champion.low
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
    const lies = rangeText(range)
    const issue = isWide
      ? `${lies}, where the champion met ${fourDigits(champion.low)} to ${fourDigits(champion.high)}: another unit`
      : `${lies}, in most periods over a range of ${fourDigits(usual ?? 0)}: a frozen value`
    const limit = isWide ? `at most ${maxSpread} times the champion's range` : `1/${maxSpread} of that range`
    return { issue, required: limit }
  }
}

function textIssues(reference: CategoryProfile): IssueOf {
  if (unlistedShare(reference) > maxUnlisted) return () => undefined
  const { categories, rare } = reference
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

/** Where training has a larger share of rows with values that the profile does not list, unknown values cannot be told from them. */
export const maxUnlisted = 0.5

/** The share of the present values that the profile is expected not to list. */
export const unlistedShare = ({ counts }: CategoryProfile): number =>
  counts.at(-2)! / Math.max(1, sumOf(counts.slice(0, -1)))

function missingShareOf({ counts }: Profile): number {
  const rows = counts.reduce((sum, count) => sum + count, 0)
  return rows === 0 ? 1 : (counts.at(-1) ?? 0) / rows
}

const shareOf = <T>(list: readonly T[], holds: (each: T) => boolean): number =>
  list.length === 0 ? 0 : list.filter(holds).length / list.length

const percent = (share: number): string => `${Number((100 * share).toFixed(1))} %`
