/**
 * Holds the circuit breakers of this replica. The canary judge decides every few seconds; a candidate that fails every request is dropped
 * here after a few requests.
 */
import { breaker } from '../../../domain/serving/circuit-breaker.ts'
import { breakerAlpha } from '../../../domain/canary/alpha-split.ts'
import { championBreakerLimits } from '../../../domain/serving/fallback-level.ts'
import type { Route } from '../../../domain/serving/route.ts'
import type { Clock } from '../clock.ts'

export interface CandidateGuard {
  count(isBad: boolean): void
  isOpen(): boolean
}

/** The breaker of a champion, valid until another version is champion or the kill switch changes. */
export interface ChampionGuard extends CandidateGuard {
  version: string
}

const defaultTickMs = 10_000

/** Returns a function that returns the breaker of a route's candidate, shared by all generations of its release. */
export function createGuards(clock: Clock): (route: Route) => CandidateGuard | undefined {
  const guards = new Map<string, { release: string; guard: CandidateGuard }>()
  return (route) => {
    const { release, guard: limits, model } = route
    if (release === undefined || limits === undefined) return undefined
    let kept = guards.get(model)
    if (kept?.release !== release) {
      const { rate, alpha: guard } = limits
      const ownLimits = { rate, alpha: breakerAlpha({ guard }) }
      kept = { release, guard: candidateGuard(ownLimits, route.tickMs ?? defaultTickMs, clock) }
      guards.set(model, kept)
    }
    return kept.guard
  }
}

/**
 * Returns a function that returns the breaker of a model's champion. It is replaced when another version is champion or the kill switch
 * changes.
 */
export function createChampionGuards(
  clock: Clock,
): (champion: { model: string; version: string; revision: number }) => ChampionGuard {
  const guards = new Map<string, { revision: number; guard: ChampionGuard }>()
  return ({ model, version, revision }) => {
    const kept = guards.get(model)
    if (kept?.guard.version === version && kept.revision === revision) return kept.guard
    const guard = { version, ...candidateGuard(championBreakerLimits, defaultTickMs, clock) }
    guards.set(model, { revision, guard })
    return guard
  }
}

function candidateGuard(limits: NonNullable<Route['guard']>, tickMs: number, clock: Clock): CandidateGuard {
  const test = breaker(limits.rate, limits.alpha)
  let restartedAt = clock.now()
  return {
    count(isBad) {
      const now = clock.now()
      if (now - restartedAt >= tickMs) {
        test.restart()
        restartedAt = now
      }
      if (isBad) test.bad()
      else test.good(1)
    },
    isOpen: test.isOpen,
  }
}
