/**
 * Names the verdicts of the offline gate in five words, the same on pages, in messages, on the command line and in reports: better, no
 * regression, passed (a floor, without a champion), failed, no verdict. Stored records keep their codes.
 */
import type { GateReport } from './gate.ts'
import type { GateSliceRow } from './slices.ts'

/** Names the verdict of the gate. A first version has nothing to be better than: it passes or fails its floors. */
export function gateVerdictText(verdict: GateReport['verdict'], { isFirst }: { isFirst: boolean }): string {
  if (isFirst && (verdict === 'better' || verdict === 'not_worse')) return 'passed'
  return { better: 'better', not_worse: 'no regression', not_better: 'failed', insufficient: 'no verdict' }[
    verdict
  ]
}

/** Names the verdict of a slice: its test looks for a loss, and finds none or one. */
export const sliceVerdictText = (verdict: GateSliceRow['verdict']): string =>
  ({ ok: 'no regression', blocked: 'failed', missing: 'failed', insufficient: 'no verdict' })[verdict]
