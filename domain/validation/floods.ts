/**
 * Chooses which rows of flooded values stay in a snapshot, because a model that has learnt a wave which is over answers wrongly
 * afterwards. A value that keeps its new share is not a flood any more once that takes more than a quarter of the batch.
 */
import { groupedDigits } from '../figures.ts'
import type { Expectation, ExpectationResult, Flood } from './expectations.ts'
import { findFloodedRuns, floodText, type CountedPeriod, type FloodedRun } from './flooded-value.ts'
import { minRowsOfPeriod, periodsOfBatch } from './periods.ts'

/**
 * - `thin`: of the rows of a flooded value in the periods of its flood as many stay as give the value its usual share.
 * - `leave_out`: none of them stays.
 * - `warn`: all of them stay, and validation warns.
 */
export type FloodPolicy = 'thin' | 'leave_out' | 'warn'
export const floodPolicies: readonly FloodPolicy[] = ['thin', 'leave_out', 'warn']
export const defaultFloodPolicy: FloodPolicy = 'thin'

/** The first and the last time of a batch, in milliseconds. */
export interface BatchSpan {
  firstMs: number
  lastMs: number
}

/** The place of the period of a time is the time since the first, divided by this and rounded down. */
export const periodMsOf = ({ firstMs, lastMs }: BatchSpan): number => (lastMs - firstMs + 1) / periodsOfBatch

/** Counts the rows that `floods` leave by period and value of a column; values below `leastFloodShare` of every period may be absent. */
export type CountRows = (column: string, floods: readonly Flood[]) => Promise<readonly CountedPeriod[]>

/**
 * The floods of a batch. Columns are judged one after the other on the rows that stay, because the values of one wave may flood
 * two columns.
 */
export async function findFloods(
  columns: readonly string[],
  policy: Exclude<FloodPolicy, 'warn'>,
  span: BatchSpan,
  countRows: CountRows,
): Promise<Flood[]> {
  const floods: Flood[] = []
  for (const column of columns) {
    const all = await countRows(column, floods)
    const periods = all.flatMap((counts, place) =>
      counts.rows >= minRowsOfPeriod
        ? [{ counts, place, fromMs: startMs(span, place), toMs: startMs(span, place + 1) }]
        : [],
    )
    for (const run of findFloodedRuns(periods.map(({ counts }) => counts)))
      floods.push(floodOf(column, run, periods, policy))
  }
  return floods
}

const startMs = (span: BatchSpan, place: number): number => Math.ceil(span.firstMs + place * periodMsOf(span))

interface CountedSpan {
  counts: CountedPeriod
  fromMs: number
  toMs: number
}

function floodOf(
  column: string,
  run: FloodedRun,
  periods: readonly CountedSpan[],
  policy: Exclude<FloodPolicy, 'warn'>,
): Flood {
  const { value, from, to, largest, usual } = run
  // The flood begins and ends within the periods beside the run.
  const flooded = periods
    .slice(Math.max(0, from - 1), to + 1)
    .filter(
      ({ counts: { values, rows } }) =>
        values.get(value)! / rows > largest + 2 * Math.sqrt((largest * (1 - largest)) / rows),
    )
  const parts = flooded.map(({ fromMs, toMs, counts: { rows, values } }) => {
    const others = rows - values.get(value)!
    const usualRows = policy === 'thin' ? (others * usual) / (1 - usual) : 0
    return { fromMs, toMs, kept: Math.min(1, usualRows / values.get(value)!) }
  })
  const rowsOf = ({ counts: { values } }: CountedSpan) => values.get(value)!
  return {
    column,
    value,
    message: floodText(run),
    parts,
    rows: flooded.reduce((sum, each) => sum + rowsOf(each), 0),
    excluded: flooded.reduce(
      (sum, each, place) => sum + Math.round((1 - parts[place]!.kept) * rowsOf(each)),
      0,
    ),
  }
}

/** What was left out, as a sentence. */
export function floodSentence({ column, message, parts, rows, excluded }: Flood): string {
  const [from, to] = [parts[0]!.fromMs, parts.at(-1)!.toMs].map((ms) =>
    new Date(ms).toISOString().slice(0, 16),
  )
  return `${groupedDigits(excluded)} of ${groupedDigits(rows)} rows from ${from}Z to ${to}Z are left out: ${column} ${message}`
}

/** An expectation for each flood, which warns. */
export const expectedOfFloods = (floods: readonly Flood[] = []): Expectation[] =>
  floods.map((flood) => ({ check: 'no_flood', flood, severity: 'warn' }))

/** Judges an expectation of this kind; undefined for others. */
export function judgeFlood(expectation: Expectation): ExpectationResult | undefined {
  if (expectation.check !== 'no_flood') return undefined
  const { check, severity, flood } = expectation
  const { column: subject, parts, rows, excluded } = flood
  const period = { fromMs: parts[0]!.fromMs, toMs: parts.at(-1)!.toMs }
  const found = { check, subject, severity, passed: false, observed: rows, failing: excluded, period }
  const message = floodSentence(flood)
  return { ...found, message, found: message, required: 'no value that floods some periods' }
}

/** Rows stay by the last digits of their keys, because the first ones choose the rows of a sample. */
export const keptKeyDigits = 8

/** The keys of which the last digits are below this stay, as texts. */
export const keptBelow = (kept: number): string =>
  kept >= 1
    ? 'g'
    : Math.floor(kept * 0x1_0000_0000)
        .toString(16)
        .padStart(keptKeyDigits, '0')

/** Whether a row with this value stays. `key` is an MD5 in hexadecimal digits. */
export function staysIn(flood: Flood, row: { atMs: number; value: unknown; key: string }): boolean {
  if (row.value !== flood.value) return true
  const part = flood.parts.find(({ fromMs, toMs }) => row.atMs >= fromMs && row.atMs < toMs)
  return part === undefined || row.key.slice(-keptKeyDigits) < keptBelow(part.kept)
}
