/** Defines the verdict of every judge. A verdict carries its figures, so that a stored decision can be checked years later. */
/**
 * - `pass`: the required evidence favours the candidate.
 * - `fail`: the evidence is against the candidate, which is rolled back.
 * - `inconclusive`: not enough evidence; wait until the deadline, then ask an approver.
 * - `no_data`: missing, stale or one-sided data; hold, and roll back at the deadline.
 * - `error`: unreadable evidence (negative or infinite counters); hold, and roll back at the deadline.
 */
export type VerdictKind = 'pass' | 'fail' | 'inconclusive' | 'no_data' | 'error'

export interface Reason {
  /** A stable word for programs, e.g. `error_rate`. */
  code: string
  /** One sentence with its figures, e.g. "41 of 1,000 canary requests failed (4.1 %), control 0.5 %: logE 7.9 ≥ 4.6". */
  message: string
  values: Record<string, number | string | null>
}

/** The shares of the answers have moved. */
export const scoreShiftCode = 'score_shift'
/** The versions answer the same requests differently. */
export const disagreementCode = 'disagreement'

/** The question of a reason: its code, with the metric when it is about one. */
export const questionOf = ({ code, values: { metric } }: Reason): string =>
  metric === undefined ? code : `${code}/${metric}`

/** Whether an approver has answered the question of a reason. A code alone, as of a break-glass order, answers for every metric. */
export const isAnswered = (reason: Reason, accepted: readonly string[]): boolean =>
  accepted.includes(reason.code) || accepted.includes(questionOf(reason))

export interface Verdict {
  kind: VerdictKind
  reasons: Reason[]
  /** The questions (`questionOf`) that only an approver can settle. When no other reason is left, the approver is asked at once. */
  questions?: string[]
  /** Named statistics; null where undefined, never NaN. */
  statistics: Record<string, number | null>
  /** The judge and its version, e.g. `canary@1`. */
  judge: string
}

/** What one test says of the effects of a candidate. */
export interface EffectFindings {
  /** Proven losses that roll back. */
  against: Reason[]
  /** What an approver decides about. */
  questions: Reason[]
  /** What the stage still lacks. */
  pending: Reason[]
}

/** What a test says of one metric. A loss is against the candidate, or a question where the metric asks. */
export type MetricFindings = Partial<Pick<EffectFindings, 'questions' | 'pending'>> & { loss?: Reason }

/** Whether nothing but the answer of an approver is missing, so that the stage need not wait for its deadline. */
export const needsApprover = ({ kind, reasons, questions }: Verdict): boolean =>
  kind === 'inconclusive' &&
  questions !== undefined &&
  reasons.every((reason) => questions.includes(questionOf(reason)))
