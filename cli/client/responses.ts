/** Declares the fields of the API's responses that the command line reads. */
import type { ChampionMinute, VersionMinute } from '../../domain/monitoring/last-minute.ts'
import type { BehaviourRow } from '../../domain/behaviour/behaviour-test.ts'
import type { CheckRow } from '../../domain/validation/check-rows.ts'
import type { GateReport } from '../../domain/evaluation/gate.ts'
import type { ReportedConcerns } from '../../domain/evaluation/reasons.ts'
import type { GateMetricRow } from '../../domain/evaluation/metric-table.ts'

export interface ModelAnswer {
  name: string
  about?: string
  champion?: { version: string; since: string }
  open_release?: string
  /** What the champion answered in the last minute, since it became champion, and what other versions did. */
  last_minute?: {
    version?: string
    requests: number
    failed: number
    limit?: number
    served_ms?: number
    is_proven?: boolean
    rolled_back?: string
    /** Whether it is certain that more of its requests fail than the limit of the model permits. */
    is_failing: boolean
    others?: VersionMinute[]
  }
  /** Why the last window of the monitor did not measure quality. */
  quality_unmeasured?: string
  /** The slices, groups and the business metric that it could not determine, each with the reason. */
  parts_unmeasured?: string[]
  /** The version that a rollback of the model would roll back. */
  rolls_back?: string
  /** Why the champion cannot be rolled back, and what can be done. */
  no_rollback?: { detail: string; remedy: string }
  /** The next step of a model without a champion. */
  first_step?: string
  /** The route of the replica that answers; `standby` is what a rollback returns to. */
  route?: { standby?: string }
}

/** Undefined without a champion. */
export function championMinuteOf({ last_minute: minute }: ModelAnswer): ChampionMinute | undefined {
  if (minute?.version === undefined) return undefined
  const { version, requests, failed, limit = 1, served_ms: servedMs = Infinity } = minute
  const { is_proven: isProven, rolled_back: rolledBack } = minute
  return {
    version,
    requests,
    failed,
    limit,
    servedMs,
    ...(isProven !== undefined && { isProven }),
    ...(rolledBack !== undefined && { rolledBack }),
  }
}

export interface KillSwitchAnswer {
  model: string
  serve: string
  reason: string
  actor: string
  revision: number
  at: string
  means: string
  problems: string[]
}

export interface VersionAnswer {
  version: string
  model: string
  artifact_digest: string
  created_by: string
  created_at: string
  known_good_at?: string
  rolled_back_at?: string
  /** champion, known_good, rolled_back, … */
  status?: string
  /** Why the queued release was not started. */
  not_released?: string
  metrics?: Record<string, number>
}

export interface ReleaseAnswer {
  id: string
  model: string
  version: string
  baseline_version?: string
  strategy: string
  stage: string
  share_bp: number
  /** Share of traffic that the version serves now, in basis points. */
  traffic_bp?: number
  /** What a reader must know before the share and the stage: the candidate is not watched, or nothing can be judged. */
  warning?: string
  drill?: string
  paused: boolean
  requested_by: string
  artifact_digest: string
  evaluation_digest: string
  policy_digest: string
  why?: string
  outcome?: string
  reason?: string
  started_at: string
  ended_at?: string
  /** When and why the version was rolled back after this release had promoted it. */
  withdrawn_at?: string
  withdrawn_reason?: string
}

/** What the gate has judged besides its metrics. */
export type JudgedParts = Pick<
  GateReport,
  'slices' | 'fairness' | 'calibration' | 'policy' | 'compression' | 'answers'
>

/** The offline evaluation. The report of a version that was not judged lacks tables. */
export interface EvaluationAnswer {
  id: string
  verdict: string
  baseline_version?: string
  report: {
    metrics?: (Omit<GateMetricRow, 'higherIsBetter' | 'oneSidedLow' | 'p' | 'floor' | 'floorMet' | 'method'> &
      Partial<Pick<GateMetricRow, 'floor' | 'floorMet'>>)[]
    tests?: BehaviourRow[]
  } & Partial<JudgedParts> &
    ReportedConcerns
}

export interface AlertAnswer {
  id: number
  model?: string | null
  severity: 'critical' | 'warning' | 'info'
  kind: string
  message: string
  raised_at: string
  acknowledged_by?: string
}

export interface WaitingAnswer {
  queue_id: string
  version: string
  state: string
  requested_by: string
  hotfix?: string
  at: string
}

export interface CommandAnswer {
  at: string
  command: string
  actor: string
  accepted: boolean
  message: string
}

/** A command queued while Temporal was unreachable. */
export interface RecordedAnswer {
  id: string
  /** Absent for a command that starts a release. */
  release?: string
  model: string
  command: string
  actor: string
  state: string
  message: string
  recorded_at: string
  /** What a delivered start command started. */
  started?: { id?: string }
}

export interface RetrainingAnswer {
  id: string
  model?: string
  requested_by?: string
  started_at?: string
  stage?: string
  outcome?: string
  message?: string
  /** Remedy of a failed command, if the error has one. */
  remedy?: string
  epoch?: number
  epochs?: number
  loss?: number
  /** Why a running retraining has not begun to train, and what to do. */
  waiting?: string
  training_id?: string
  evaluation_id?: string
  /** What was judged of its version and on what the weights were refitted. */
  refit?: string
  /** Present once the rows are validated. */
  validation?: ValidationAnswer
}

export interface ValidationAnswer {
  snapshot_digest: string
  verdict: string
  expectations: number
  failed: number
  checks: CheckRow[]
  /** For quarantined rows: the path of the runbook, and what to do. */
  runbook?: string
  next?: string
}

export interface TrainingAnswer {
  curve: { epoch: number; loss: number }[]
}

export interface KeyAnswer {
  id: string
  name: string
  role: string
  models?: string[]
  created_at: string
  expires_at?: string
  revoked_at?: string
  last_used_at?: string
}
