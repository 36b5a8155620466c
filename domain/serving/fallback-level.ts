/**
 * Who answers when the champion does not: each rung is worse than the one above and better than the one below. A service that
 * knows only "works" and "fails" fails when it need not; one that climbs down unseen is never repaired.
 */
import type { AlertKind } from '../monitoring/alert-kinds.ts'
import type { Severity } from '../monitoring/alert-escalation.ts'

/** From the best to the worst, each with a sentence that says what callers get. */
export const fallbackLevels = {
  champion: 'The champion answers, or whom its route names.',
  previous: 'A previous version answers, which was proven once.',
  rule: 'Everybody gets the answer that the model file declares; no model has looked at what was asked.',
  refused: 'Nobody is answered.',
} as const satisfies Record<string, string>

export type FallbackLevel = keyof typeof fallbackLevels
export const fallbackLevelNames = Object.keys(fallbackLevels) as FallbackLevel[]

/** 0 for the champion, 3 for nobody: what the metric shows. */
export const levelRank = (level: FallbackLevel): number => fallbackLevelNames.indexOf(level)

/** What people are told of each rung but the first. */
export const fallbackAlerts: Readonly<
  Record<Exclude<FallbackLevel, 'champion'>, { kind: AlertKind; severity: Severity }>
> = {
  previous: { kind: 'fallback_previous', severity: 'warning' },
  rule: { kind: 'fallback_rule', severity: 'critical' },
  refused: { kind: 'fallback_refused', severity: 'critical' },
}

/**
 * From this share of bad answers on a replica takes the champion for broken, with so small a chance to do so below it. It is the
 * test of the candidate's breaker with more patience: three answers in a row that are none are no reason yet.
 */
export const championBreakerLimits = { rate: 0.05, alpha: 1e-6 } as const
