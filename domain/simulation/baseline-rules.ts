/** Implements the documented default rules of other release controllers, to compare them on the same simulated traffic. */
import type { CanaryTick } from '../canary/evidence.ts'
import { normalQuantile } from '@tenure/sequential'

export interface BaselineRule {
  /** Adds one tick; returns whether the rule rolls the canary back now. */
  add(tick: CanaryTick): boolean
}

export const baselineRuleNames = ['argo', 'flagger', 'z-test'] as const
export type BaselineRuleName = (typeof baselineRuleNames)[number]

/** Each rule in one sentence with its source. */
export const rivalRules: Record<BaselineRuleName, string> = {
  argo: 'success rate of the canary at least 95 %, measured each 5 minutes, more than 3 failures roll back (Argo Rollouts, "Analysis", success-rate example)',
  flagger:
    'success rate of the canary at least 99 %, measured each minute, 5 failed checks roll back (Flagger, "How it works", canary example)',
  'z-test': 'one-sided two-proportion z-test of errors at 1 %, evaluated each minute',
}

export function baselineRule(name: BaselineRuleName): BaselineRule {
  switch (name) {
    case 'argo':
      return successRate({ windowMs: 300_000, minSuccess: 0.95, failures: 4 })
    case 'flagger':
      return successRate({ windowMs: 60_000, minSuccess: 0.99, failures: 5 })
    case 'z-test':
      return zTest({ everyMs: 60_000, alpha: 0.01 })
  }
}

function successRate(rule: { windowMs: number; minSuccess: number; failures: number }): BaselineRule {
  let openedMs: number | undefined
  let requests = 0
  let errors = 0
  let failures = 0
  return {
    add({ startMs, canary }) {
      openedMs ??= startMs
      if (startMs - openedMs >= rule.windowMs) {
        if (requests > 0 && 1 - errors / requests < rule.minSuccess) failures++
        openedMs = startMs
        requests = 0
        errors = 0
      }
      requests += canary.requests
      errors += canary.errors
      return failures >= rule.failures
    },
  }
}

function zTest(rule: { everyMs: number; alpha: number }): BaselineRule {
  const limit = normalQuantile(1 - rule.alpha) ?? 0
  const canary = { n: 0, x: 0 }
  const control = { n: 0, x: 0 }
  let lookedMs: number | undefined
  return {
    add(tick) {
      canary.n += tick.canary.requests
      canary.x += tick.canary.errors
      control.n += tick.control.requests
      control.x += tick.control.errors
      lookedMs ??= tick.startMs
      if (tick.startMs - lookedMs < rule.everyMs) return false
      lookedMs = tick.startMs
      const pooled = (canary.x + control.x) / (canary.n + control.n)
      const error = Math.sqrt(pooled * (1 - pooled) * (1 / canary.n + 1 / control.n))
      return error > 0 && (canary.x / canary.n - control.x / control.n) / error > limit
    },
  }
}
