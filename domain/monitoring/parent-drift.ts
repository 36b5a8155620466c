/**
 * Detects that a compressed champion answers otherwise than its parent on the requests of today: the gate has compared them on earlier rows, and
 * a request may lie where the smaller file is less exact. Each window gives an e-value against "the distances and the other decisions are
 * within the limits of the gate", and M ← (1 + M)·e is the detector of rates (`packages/sequential/src/rate-detector.ts`): within n windows
 * that keep the limits, P(max M ≥ A) ≤ n/A. Each declared slice has a detector of its own, and all share the error equally.
 */
import { detectorThreshold } from '@tenure/sequential'
import type { FidelityReport } from '../evaluation/fidelity.ts'
import { counted, fourDigits, percentText } from '../figures.ts'

/** The probability that a year raises a false alarm, at the limits. */
export const falseAlarmsAYear = 0.01
const yearMs = 31_557_600_000

interface DetectorState {
  /** ln(1 + M), for an alarm and, while there is one, for its end; M begins again with the version and with each change. */
  evidence: number
  isAway: boolean
}

/** The state that a window leaves for the next one: of all requests, and of each slice. */
export interface ParentDriftState extends DetectorState {
  version: string
  parent: string
  slices?: Readonly<Record<string, DetectorState>>
}

/** The comparison of the rows of a window, and `logE`, its log evidence in nats that a limit is exceeded. */
export interface ParentComparison {
  report: FidelityReport
  logE: number
}

export interface ParentDriftJudgement extends ParentDriftState {
  /** `insufficient`: no request of the window could be compared. */
  level: 'ok' | 'away' | 'insufficient'
  /** Whether this window proves a difference; a difference of an earlier one stays `away` until equality is proven. */
  isProof: boolean
  reasons: string[]
}

/**
 * Judges a window.
 * @param compared the comparison of all rows, with those of the declared slices; a slice without rows has none. A reason where nothing was compared
 * @param everyMs the length of a window
 */
export function judgeParentDrift(
  { version, parent }: { version: string; parent: string },
  compared:
    | (ParentComparison & { slices?: readonly { name: string; compared?: ParentComparison }[] })
    | { reason: string },
  { before, everyMs }: { before?: ParentDriftState; everyMs: number },
): ParentDriftJudgement {
  const last = before?.version === version ? before : undefined
  const fresh: DetectorState = { evidence: 0, isAway: false }
  const { evidence, isAway, slices = {} } = last ?? (fresh as ParentDriftState)
  if ('reason' in compared)
    return {
      version,
      parent,
      evidence,
      isAway,
      slices,
      level: 'insufficient',
      isProof: false,
      reasons: [compared.reason],
    }
  const declared = compared.slices ?? []
  const alarm = detectorThreshold({
    looks: Math.max(1, yearMs / everyMs),
    falseAlarms: falseAlarmsAYear / (1 + declared.length),
  })
  const all = judgePart({ version, parent }, compared, { last: { evidence, isAway }, alarm })
  const parts = declared.map((slice) => {
    const own = { last: Object.hasOwn(slices, slice.name) ? slices[slice.name]! : fresh, alarm }
    return { name: slice.name, ...judgePart({ version, parent, slice: slice.name }, slice.compared, own) }
  })
  const away = [all, ...parts].filter((part) => part.isAway)
  return {
    version,
    parent,
    evidence: all.evidence,
    isAway: all.isAway,
    slices: Object.fromEntries(
      parts.map((part) => [part.name, { evidence: part.evidence, isAway: part.isAway }]),
    ),
    level: away.length > 0 ? 'away' : 'ok',
    isProof: away.some((part) => part.isProof),
    reasons: [(away.length > 0 ? away : [all]).map(({ reason }) => reason).join('; ')],
  }
}

/** Adds the rows of a window to the detector of all requests or of a slice. */
function judgePart(
  { version, parent, slice }: { version: string; parent: string; slice?: string },
  compared: ParentComparison | undefined,
  { last: { evidence, isAway }, alarm }: { last: DetectorState; alarm: number },
): DetectorState & { isProof: boolean; reason: string } {
  const where = slice === undefined ? '' : ` in the slice ${slice}`
  const movedAway = `answers of ${version} moved away from those of its parent ${parent}${where}`
  if (compared === undefined)
    return { evidence, isAway, isProof: false, reason: `${movedAway}: no rows in this window` }
  const { report, logE } = compared
  // An alarm ends by the evidence for equality of all windows since: the rows of one may be too few to prove it.
  const logM = evidence + (isAway ? (report.evidence ?? 0) : logE)
  const threshold = isAway ? (report.threshold ?? Infinity) : alarm
  const isOver = logM >= threshold
  const { meanDifference, flipShare, rows, entities, policy, verdict } = report
  const users = entities === rows ? '' : ` of ${counted(entities, 'user')}`
  const figures = `mean distance ${percentText(meanDifference)} (limit ${percentText(policy.epsilon)}), other decisions ${percentText(flipShare)} (limit ${percentText(policy.flips)}) in ${counted(rows, 'logged row')}${users}`
  const compares = `logE ${fourDigits(logM)} ${isOver ? '≥' : '<'} ${fourDigits(threshold)}`
  // Over the threshold, an alarm begins or ends, and M begins again.
  const state = {
    evidence: isOver ? 0 : softplus(logM),
    isAway: isAway !== isOver,
    isProof: isOver && !isAway,
  }
  if (state.isAway)
    return {
      ...state,
      reason: `${movedAway}: ${figures}${isAway ? `, not proven equal again: ${compares}` : `: ${compares}`}`,
    }
  return {
    ...state,
    reason:
      isAway || verdict === 'equal'
        ? `${version} answers like its parent ${parent}: ${figures}`
        : `${version} is not proven to differ from its parent ${parent} beyond the limits: ${figures}: ${compares}`,
  }
}

/** ln(1 + e^x). */
const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))
