/**
 * The breaker of a candidate on this replica, kept over all generations of its release. The judge far away looks every few
 * seconds; here a candidate that fails every request is dropped after a handful of them.
 */
import { breaker } from '../../../domain/serving/circuit-breaker.ts'
import { championBreakerLimits } from '../../../domain/serving/fallback-level.ts'
import type { Route } from '../../../domain/serving/route.ts'
import type { Clock } from '../clock.ts'

export interface CandidateGuard {
  count(isBad: boolean): void
  isOpen(): boolean
}

/** The same for the version that is champion, for as long as it is and nobody throws the model's switch. */
export interface ChampionGuard extends CandidateGuard {
  version: string
}

const defaultTickMs = 10_000

/** The guard of the candidate of a route; the same one for every generation of its release. */
export function createGuards(clock: Clock): (route: Route) => CandidateGuard | undefined {
  const guards = new Map<string, { release: string; guard: CandidateGuard }>()
  return (route) => {
    const { release, guard: limits, model } = route
    if (release === undefined || limits === undefined) return undefined
    let kept = guards.get(model)
    if (kept?.release !== release) {
      kept = { release, guard: candidateGuard(limits, route.tickMs ?? defaultTickMs, clock) }
      guards.set(model, kept)
    }
    return kept.guard
  }
}

/** The guard of a model's champion; a new one when another version is champion, or when somebody has thrown its switch since. */
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
