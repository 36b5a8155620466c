/**
 * Detects that a compressed champion answers otherwise than its parent on the requests of today: the gate has compared them on earlier rows, and
 * a request may lie where the smaller file is less exact. Each window gives an e-value against "the distances and the other decisions are
 * within the limits of the gate", and M ← (1 + M)·e is the detector of rates (`packages/sequential/src/rate-detector.ts`): within n windows
 * that keep the limits, P(max M ≥ A) ≤ n/A.
 */
import { detectorThreshold } from '@tenure/sequential'
import type { FidelityReport } from '../evaluation/fidelity.ts'
import { counted, fourDigits, percentText } from '../figures.ts'

/** The probability that a year raises a false alarm, at the limits. */
export const falseAlarmsAYear = 0.01
const yearMs = 31_557_600_000

/** The state that a window leaves for the next one. */
export interface ParentDriftState {
  version: string
  parent: string
  /** ln(1 + M), for an alarm and, while there is one, for its end; M begins again with the version and with each change. */
  evidence: number
  isAway: boolean
}

export interface ParentDriftJudgement extends ParentDriftState {
  /** `insufficient`: no request of the window could be compared. */
  level: 'ok' | 'away' | 'insufficient'
  reasons: string[]
}

/**
 * Judges a window.
 * @param report the comparison of the window, and `logE`, its log evidence in nats that a limit is exceeded; absent where nothing was compared
 * @param everyMs the length of a window
 */
export function judgeParentDrift(
  { version, parent }: { version: string; parent: string },
  compared: { report: FidelityReport; logE: number } | { reason: string },
  { before, everyMs }: { before?: ParentDriftState; everyMs: number },
): ParentDriftJudgement {
  const last = before?.version === version ? before : undefined
  const { evidence, isAway } = last ?? { evidence: 0, isAway: false }
  const state = { version, parent, evidence, isAway }
  if ('reason' in compared) return { ...state, level: 'insufficient', reasons: [compared.reason] }
  const { report } = compared
  // An alarm ends by the evidence for equality of all windows since: the rows of one may be too few to prove it.
  const logE = isAway ? (report.evidence ?? 0) : compared.logE
  const logM = evidence + logE
  const alarm = detectorThreshold({ looks: Math.max(1, yearMs / everyMs), falseAlarms: falseAlarmsAYear })
  const threshold = isAway ? (report.threshold ?? Infinity) : alarm
  const isOver = logM >= threshold
  const { meanDifference, flipShare, rows, entities, policy, verdict } = report
  const users = entities === rows ? '' : ` of ${counted(entities, 'user')}`
  const figures = `mean distance ${percentText(meanDifference)} (limit ${percentText(policy.epsilon)}), other decisions ${percentText(flipShare)} (limit ${percentText(policy.flips)}) in ${counted(rows, 'logged row')}${users}`
  if (isAway !== isOver) {
    const found = isAway
      ? `, not proven equal again: logE ${fourDigits(logM)} < ${fourDigits(threshold)}`
      : `: logE ${fourDigits(logM)} ≥ ${fourDigits(threshold)}`
    const reason = `answers of ${version} moved away from those of its parent ${parent}: ${figures}${found}`
    return { ...state, evidence: isAway ? softplus(logM) : 0, isAway: true, level: 'away', reasons: [reason] }
  }
  return {
    ...state,
    evidence: isAway ? 0 : softplus(logM),
    isAway: false,
    level: 'ok',
    reasons: [
      isAway || verdict === 'equal'
        ? `${version} answers like its parent ${parent}: ${figures}`
        : `${version} is not proven to differ from its parent ${parent} beyond the limits: ${figures}: logE ${fourDigits(logM)} < ${fourDigits(threshold)}`,
    ],
  }
}

/** ln(1 + e^x). */
const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))
