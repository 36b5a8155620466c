/**
 * Names the verdicts of the offline gate in five words, the same on pages, in messages, on the command line and in reports: better, no
 * regression, passed (a floor, without a champion), failed, no verdict. Stored records keep their codes.
 */
import type { GateReport } from './gate.ts'
import { decides, type GateMetricRow } from './metric-table.ts'
import type { GatePolicy } from './policy.ts'
import type { GateSliceRow } from './slices.ts'

const gateWords: Readonly<Record<string, string>> = {
  better: 'better',
  not_worse: 'no regression',
  not_better: 'failed',
  insufficient: 'no verdict',
} satisfies Record<GateReport['verdict'], string>

/** Names the verdict of the gate. A first version has nothing to be better than: it passes or fails its floors. */
export const gateVerdictText = (verdict: string, { isFirst }: { isFirst: boolean }): string =>
  isFirst && verdict === 'better' ? 'passed' : (gateWords[verdict] ?? verdict)

/** What people read where the code of an outcome is another word. */
const outcomeWords: Readonly<Record<string, string>> = {
  released: 'release started',
  quarantined: 'data failed validation',
  not_better: 'failed the gate',
  insufficient: 'no gate verdict',
}

/** Names the outcome of a retraining, a trial, a sweep or a release. A retraining's version is released only when its release has ended. */
export const outcomeText = (outcome: string): string => outcomeWords[outcome] ?? outcome.replaceAll('_', ' ')

const metricWords: Readonly<Record<GateMetricRow['verdict'], string>> = {
  better: 'better',
  not_worse: 'no regression',
  not_better: 'failed',
  worse: 'failed',
  error: 'failed',
  reported: 'no verdict',
  undefined: 'no verdict',
}

/**
 * Names the verdict of a metric; with the policy, a metric that decides nothing has none. Without a champion, a metric is judged by its floor
 * alone.
 */
export function metricVerdictText(
  row: Pick<GateMetricRow, 'verdict'> & Partial<Pick<GateMetricRow, 'metric' | 'floorMet'>>,
  policy?: GatePolicy,
): string {
  const { verdict, metric, floorMet = null } = row
  if (verdict === 'reported' && floorMet !== null) return floorMet ? 'passed' : 'failed'
  const isInfo = policy !== undefined && metric !== undefined && !decides({ metric, floorMet }, policy)
  return isInfo && verdict !== 'error' ? 'no verdict' : metricWords[verdict]
}

/** Names the verdict of a slice: its test looks for a loss, and finds none or one. */
export const sliceVerdictText = (verdict: GateSliceRow['verdict']): string =>
  ({ ok: 'no regression', blocked: 'failed', missing: 'failed', insufficient: 'no verdict' })[verdict]
