/**
 * Checks a batch against the champion's training rows, to block broken exports: another unit, a column that is suddenly empty, or keys
 * instead of categories. Test rows are broken in the same way, so no later check would notice.
 */
import type { ModelDefinition } from '../model-definition.ts'
import type {
  BatchCell,
  BatchTable,
  Cells,
  Expectation,
  ExpectationContext,
  ExpectationResult,
} from './expectations.ts'
import {
  findBrokenPeriod,
  maxUnlisted,
  rangeOfCells,
  rangeText,
  unlistedShare,
  usualRange,
} from './periods.ts'
import type { Manifest } from '../model/manifest.ts'
import type { CategoryProfile, NumberProfile, Profile } from '../model/reference-profile.ts'
import { absentColumn } from './row-expectations.ts'
import { fourDigits } from '../figures.ts'

/** A spread wider or narrower by this factor indicates another unit. */
const maxSpread = 100
/** The share of missing values in training, and the share now, that blocks. */
const missingBefore = 0.1
const missingNow = 0.5
/** The maximum share of rows with a category unknown to the champion. */
const maxUnseenShare = 0.5

/** Expectations of the features whose declaration is unchanged; another kind or unit is an intended change. */
export function expectedOfChampion(
  { features }: Pick<ModelDefinition, 'features'>,
  champion: Pick<Manifest, 'features' | 'profile'>,
): Expectation[] {
  const unitOf = (feature: Manifest['features'][string] | undefined) =>
    feature?.kind === 'number' ? feature.unit : undefined
  const references = (champion.profile?.features ?? []).filter(({ name }) => {
    const [now, then] = [features[name], champion.features[name]]
    return now !== undefined && now.kind === then?.kind && unitOf(now) === unitOf(then)
  })
  const severity = 'block' as const
  return [
    ...references.map((reference) => ({
      check: 'as_trained' as const,
      column: reference.name,
      reference,
      severity,
    })),
    ...(references.length > 1 ? [{ check: 'not_swapped' as const, references, severity }] : []),
  ]
}

/** Judges an expectation of this kind; undefined for others. */
export function judgeAsTrained(
  expectation: Expectation,
  table: BatchTable,
  { eventAt }: Pick<ExpectationContext, 'eventAt'>,
): ExpectationResult | undefined {
  if (expectation.check !== 'as_trained') return undefined
  const { check, column, reference, severity } = expectation
  const cells = table.columns[column]
  if (cells === undefined) {
    const message = `there is no column ${column}`
    return { check, subject: column, severity, passed: false, observed: null, message, ...absentColumn }
  }
  const { observed, issue, ...words } = judgeCells(cells, reference)
  const times = eventAt === undefined ? undefined : table.columns[eventAt]
  const period = times && findBrokenPeriod(cells, times, reference)
  // A change that may be real must not hide a certain error.
  if (period !== undefined && !(period.maybeReal && issue !== undefined)) {
    const { fromMs, toMs, maybeReal } = period
    const message = `from ${isoMinute(fromMs)} to ${isoMinute(toMs)}: ${period.issue}`
    const result = { check, subject: column, passed: false, observed, message, period: { fromMs, toMs } }
    const { required } = period
    return { ...result, severity: maybeReal ? 'warn' : severity, found: message, required }
  }
  const message = issue ?? 'as in the rows that the champion was trained on'
  const passed = issue === undefined
  return { check, subject: column, severity, passed, observed, message, found: message, ...words }
}

const isoMinute = (ms: number): string => `${new Date(ms).toISOString().slice(0, 16)}Z`

function judgeCells(cells: Cells, reference: Profile): Found {
  const missing = judgeMissing(cells, reference)
  if (missing !== undefined) return missing
  return reference.kind === 'number' ? judgeSpread(cells, reference) : judgeUnseen(cells, reference)
}

interface Found {
  observed: number | null
  /** The issue with its figures; absent without one. */
  issue?: string
  /** The following as in `ExpectationResult`; `found` is absent where the issue says no more. */
  found?: string
  required: string
  champion?: string
}

const percent = (share: number): string => `${Number((100 * share).toFixed(1))} %`

function judgeMissing(cells: Cells, { counts }: Profile): Found | undefined {
  const rows = counts.reduce((sum, count) => sum + count, 0)
  const before = rows === 0 ? 1 : (counts.at(-1) ?? 0) / rows
  let nulls = 0
  for (const cell of cells) if (cell === null) nulls++
  const now = nulls / Math.max(1, cells.length)
  if (now <= missingNow || before >= missingBefore) return undefined
  return {
    observed: now,
    found: `${percent(now)} are null`,
    required: `at most ${percent(missingNow)}`,
    champion: percent(before),
    issue: `missing in ${percent(now)} of the rows, in ${percent(before)} of those that the champion was trained on`,
  }
}

/** Compares the range from the 10th to the 90th percentile, which ignores outliers. */
function judgeSpread(cells: Cells, reference: NumberProfile): Found {
  const usual = usualRange(reference)
  const range = rangeOfCells(cells, usual)
  const before = usual.high - usual.low
  const champion = `${fourDigits(usual.low)} to ${fourDigits(usual.high)}`
  const words = { required: `the champion's range within a factor of ${maxSpread}`, champion }
  if (range === undefined || !(before > 0)) return { observed: null, ...words }
  const ratio = (range.high - range.low) / before
  if (ratio <= maxSpread && ratio >= 1 / maxSpread) return { observed: ratio, ...words }
  const found = rangeText(range)
  const issue = `${found}, where the champion met ${champion}: another unit, or another column`
  return { observed: ratio, issue, found, ...words }
}

function judgeUnseen(cells: Cells, reference: CategoryProfile): Found {
  const required = `at most ${percent(maxUnseenShare)}`
  const expected = unlistedShare(reference)
  if (expected > maxUnlisted) return { observed: null, required }
  const { categories, rare } = reference
  const known = new Set<BatchCell>([...categories, ...rare])
  let [present, strange] = [0, 0]
  for (const cell of cells) {
    if (cell === null) continue
    present++
    if (!known.has(cell)) strange++
  }
  // Of the rows with values of training, the expected share is not listed either.
  const unseen = Math.max(0, (strange / Math.max(1, present) - expected) / (1 - expected))
  if (unseen <= maxUnseenShare) return { observed: unseen, required }
  const found = `${percent(unseen)} of the rows have a value that the champion has never seen`
  return { observed: unseen, issue: `${found}, ${required} is accepted`, found, required }
}
