/**
 * Judges a compressed version beside its parent: whether it answers like it, which needs no labels, and whether it is smaller or faster by
 * enough to be worth another version.
 */
import type { BesideParent, CompressionFacts } from '../model/compression.ts'
import { defaultTimes, taughtText } from '../model/compression.ts'
import { capitalized, counted, fourDigits, groupedDigits, percentText } from '../figures.ts'
import type { Reason } from '../verdict.ts'
import { requestsText, taughtRequestsText, type AskedRequests } from '../training/logged-requests.ts'
import { levelOf, rowsText, type FidelityReport } from './fidelity.ts'

/** Both in one process, one after the other in turns; the best turn of each counts, because load on the machine only slows them down. */
export interface CompressionCost {
  /** Rows a second, one by one, each from its features to its response. */
  rowsPerSecond: BesideParent
  /** The 99th percentile of the time for one row, in microseconds. */
  p99Us: BesideParent
  /** Of memory that a loaded version holds; absent where the parent is code or an endpoint, which a process or a server of its own holds. */
  memoryBytes?: BesideParent
}

export interface WorthReport {
  verdict: 'worth_it' | 'not_worth_it'
  /** The factor that one of the times must reach, and that none may fall below as 1 / `leastTimes`. */
  factor: number
  /** How many times better the child is than the parent; below 1: worse. */
  times: { bytes?: number; memory?: number; rowsPerSecond: number; p99: number }
}

export interface GateCompression extends CompressionFacts {
  fidelity: FidelityReport
  /** The logged requests that both answered beside the test rows; absent where none were looked for. */
  requests?: AskedRequests
  cost: CompressionCost
  worth: WorthReport
}

/** How many times worse the child may be in what it does not gain: differences below are those of two measurements. */
const leastTimes = 1.1
/** A version that takes this much longer for a row, or less, is not slower: a request takes more than twenty times as long. */
const sameUs = 1

/** Whether a row takes the child longer than its parent, in microseconds, by more than measurements differ. */
export const isSlower = ({ parent, child }: BesideParent): boolean =>
  child > parent * leastTimes && child - parent > sameUs

/** The mean time of a row, in microseconds. */
export const meanUs = ({ parent, child }: BesideParent): BesideParent => ({
  parent: 1e6 / parent,
  child: 1e6 / child,
})

/** Rows of a stretch that may count alone: where a row takes microseconds, all together take less than the time until another process runs. */
const stretchRows = 200

/**
 * Rows a second of the fastest stretch of rows that were answered one after the other: load on the machine only slows rows down, and one
 * interruption of the process takes as long as a thousand of them.
 * @param timesUs the time of each row in microseconds, in their order; at least one
 */
export function rowsPerSecondOf(timesUs: readonly number[]): number {
  let fastest = 0
  for (let from = 0; from < timesUs.length; from += stretchRows) {
    const stretch = timesUs.slice(
      Math.max(0, Math.min(from, timesUs.length - stretchRows)),
      from + stretchRows,
    )
    fastest = Math.max(fastest, (1e6 * stretch.length) / stretch.reduce((sum, each) => sum + each, 0))
  }
  return fastest
}

export function judgeWorth(
  { bytes, memoryBytes, rowsPerSecond, p99Us }: CompressionCost & Pick<CompressionFacts, 'bytes'>,
  factor = defaultTimes,
): WorthReport {
  const times = {
    ...(bytes && { bytes: bytes.parent / bytes.child }),
    ...(memoryBytes && { memory: memoryBytes.parent / memoryBytes.child }),
    rowsPerSecond: rowsPerSecond.child / rowsPerSecond.parent,
    p99: p99Us.parent / p99Us.child,
  }
  const isLarger = [times.bytes, times.memory].some((each) => each !== undefined && each < 1 / leastTimes)
  const isWorse = isLarger || isSlower(meanUs(rowsPerSecond)) || isSlower(p99Us)
  const isWorthIt = !isWorse && Object.values(times).some((each) => each >= factor)
  return { verdict: isWorthIt ? 'worth_it' : 'not_worth_it', factor, times }
}

/** `1.42 ×`, `1,473 ×`. */
const timesText = (times: number): string =>
  `${times < 100 ? times.toFixed(2) : groupedDigits(Math.round(times))} ×`

/** `1.42 × smaller (412 → 290 KB), 1.03 × the rows a second, p99 1.01 × shorter`. */
const worthText = ({ bytes, worth: { times } }: Pick<GateCompression, 'bytes' | 'worth'>): string =>
  `${bytes && times.bytes !== undefined ? `bytes ${timesText(times.bytes)} (${kilobytesText(bytes)}), ` : ''}${times.memory === undefined ? '' : `memory ${timesText(times.memory)}, `}rows a second ${timesText(times.rowsPerSecond)}, p99 ${timesText(times.p99)}${bytes === undefined ? `, and ${bytesAside}` : ''}`

const bytesAside = 'bytes and memory are not compared, because the parent is code or an endpoint'

const of = ({ parent, child }: BesideParent): string => `${child} of ${parent}`

const kilobytesText = ({ parent, child }: BesideParent): string =>
  `${kilobytes(parent)} → ${kilobytes(child)} KB`

const kilobytes = (bytes: number): string =>
  bytes < 100_000 ? (bytes / 1_000).toFixed(1) : groupedDigits(Math.round(bytes / 1_000))

/** `compressed from m_v1.2.0, float16: 412 → 290 KB, 1.03 × rows/s, |Δ| ≤ 0.0004`. */
export function compressionText({
  version,
  to,
  counts,
  bytes,
  answerBound,
  worth,
  ...taughtBy
}: Pick<
  GateCompression,
  'version' | 'to' | 'counts' | 'taughtRows' | 'taughtRequests' | 'bytes' | 'answerBound' | 'worth'
>): string {
  const { trees, weights } = counts
  const left = { 'fewer-trees': trees && `${of(trees)} trees`, prune: weights && `${of(weights)} weights` }
  const how = (to === 'fewer-trees' || to === 'prune' ? left[to] : undefined) ?? to
  const taught = taughtBy.taughtRows === undefined ? '' : ` with its answers to ${taughtText(taughtBy)}`
  const smaller = bytes && `${kilobytesText(bytes)}, `
  const bound = answerBound === undefined ? '' : `, |Δ| ≤ ${roundedUp(answerBound)}`
  return `compressed from ${version}, ${how}${taught}: ${smaller ?? ''}${timesText(worth.times.rowsPerSecond)} rows/s${bound}`
}

/** The rows of a table: what is compared, the parent's, the child's, and how many times better the child is. */
export function beside({
  bytes,
  counts,
  cost: { rowsPerSecond, p99Us, memoryBytes },
  worth: { times },
}: GateCompression): string[][] {
  const row = (name: string, { parent, child }: BesideParent, better = '—') => [
    name,
    groupedDigits(Math.round(parent)),
    groupedDigits(Math.round(child)),
    better,
  ]
  const tenths = ({ parent, child }: BesideParent) =>
    [parent, child].map((us) => (us < 1_000 ? us.toFixed(1) : groupedDigits(Math.round(us))))
  return [
    ...(bytes && times.bytes !== undefined ? [row('bytes', bytes, timesText(times.bytes))] : []),
    ...(memoryBytes && times.memory !== undefined
      ? [row('bytes in memory', memoryBytes, timesText(times.memory))]
      : []),
    row('rows a second', rowsPerSecond, timesText(times.rowsPerSecond)),
    ['p99 of a row, µs', ...tenths(p99Us), timesText(times.p99)],
    ...Object.entries(counts).map(([part, each]) => row(`number of ${part}`, each)),
  ]
}

/** The figures of the comparison of answers, in a sentence. */
export function fidelityLine({
  fidelity,
  requests,
  taughtRequests,
}: Pick<GateCompression, 'fidelity' | 'requests' | 'taughtRequests'>): string {
  const { meanDifference, maxDifference, flips, verdict, policy } = fidelity
  const { epsilon, flips: mostFlips, basis, alpha, attempt = 1 } = policy
  const words = { equal: 'proven equal', not_equal: 'not equal', insufficient: 'not proven equal' }
  const { rows: refused = 0, why } = fidelity.refused?.parent ?? {}
  const left =
    refused === 0
      ? ''
      : `. ${counted(refused, 'row')} that the parent refuses ${refused === 1 ? 'was' : 'were'} not compared: ${why}`
  const asked = requests === undefined ? '' : `. ${capitalized(requestsText(requests))}`
  const taught = taughtRequests === undefined ? '' : `. ${capitalized(taughtRequestsText(taughtRequests))}`
  return `${rowsText(fidelity)}, ${words[verdict]}: mean distance ${fourDigits(meanDifference)} (limit ${fourDigits(epsilon)}), largest ${fourDigits(maxDifference)}, ${counted(flips, 'other decision')} (limit ${percentText(mostFlips)} of the rows); compression ${attempt} of this parent, so α is ${percentText(levelOf(policy))} of the ${percentText(alpha)} for all${basis === undefined ? '' : `. ${capitalized(basis)}`}${left}${asked}${taught}`
}

/** Two digits; a bound is never rounded down. */
function roundedUp(value: number): string {
  if (value === 0) return '0'
  const unit = 10 ** (Math.floor(Math.log10(value)) - 1)
  return String(Number((Math.ceil(value / unit) * unit).toPrecision(2)))
}

/** What follows from the judgements of a compressed version; nothing for another one. */
export function compressionFindings(compression: GateCompression | undefined): {
  /** What certainly stops it. */
  against: Reason[]
  /** Why its equality is not proven yet. */
  unproven: Reason[]
  /** What speaks for it. */
  passed: Reason[]
} {
  if (compression === undefined) return { against: [], unproven: [], passed: [] }
  const { version, fidelity, worth } = compression
  const ofParent = fidelity.reasons.map((reason) => ({
    ...reason,
    code: `fidelity_${reason.code}`,
    message: `beside its parent ${version}: ${reason.message}`,
  }))
  const isWorthIt = worth.verdict === 'worth_it'
  const figures: Reason = {
    code: isWorthIt ? 'worth_it' : 'not_worth_it',
    message: `${isWorthIt ? 'worth it' : 'not worth it'} beside its parent ${version}: ${worthText(compression)}; one of them must be ${timesText(worth.factor)} or more, and none below ${fourDigits(1 / leastTimes)} × by more than ${sameUs} µs a row`,
    values: { ...worth.times, factor: worth.factor },
  }
  return {
    against: [...(fidelity.verdict === 'not_equal' ? ofParent : []), ...(isWorthIt ? [] : [figures])],
    unproven: fidelity.verdict === 'insufficient' ? ofParent : [],
    passed: fidelity.verdict === 'equal' && isWorthIt ? [...ofParent, figures] : [],
  }
}
