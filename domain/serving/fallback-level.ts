/**
 * Defines the fallback levels that serve when the champion cannot. Each level except the first raises an alert, because an unreported
 * fallback is never repaired.
 */
import type { AlertKind } from '../monitoring/alert-kinds.ts'
import type { Severity } from '../monitoring/alert-escalation.ts'

/** From best to worst, each with the response that callers get. */
export const fallbackLevels = {
  champion: 'The champion serves, or the versions of its route.',
  previous: 'A previous champion serves.',
  rule: 'Every request gets the constant response that the model file declares.',
  refused: 'Every request gets status 503.',
} as const satisfies Record<string, string>

export type FallbackLevel = keyof typeof fallbackLevels
export const fallbackLevelNames = Object.keys(fallbackLevels) as FallbackLevel[]

/** The value of the metric: 0 for the champion, 3 for refused. */
export const levelRank = (level: FallbackLevel): number => fallbackLevelNames.indexOf(level)

/** The alert of each level except the first. */
export const fallbackAlerts: Readonly<
  Record<Exclude<FallbackLevel, 'champion'>, { kind: AlertKind; severity: Severity }>
> = {
  previous: { kind: 'fallback_previous', severity: 'warning' },
  rule: { kind: 'fallback_rule', severity: 'critical' },
  refused: { kind: 'fallback_refused', severity: 'critical' },
}

/**
 * The failure rate above which a replica considers the champion broken, and the probability of doing so below it. The α is smaller
 * than the candidate's, because three consecutive failures do not prove that a champion is broken.
 */
export const championBreakerLimits = { rate: 0.05, alpha: 1e-6 } as const
