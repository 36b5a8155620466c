/**
 * From what the replicas have counted to what the canary judge reads. The candidate and its control are told apart by
 * version and not by arm, so that the evidence of a release goes on unbroken from shadow through the canary to probation.
 */
import type { AbCohort } from '../canary/ab-test.ts'
import type { ArmCounts, CanaryEvidence, CanaryTick } from '../canary/evidence.ts'
import { isBreakGlass, stepsOf, watchedPolicy, type ReleaseState } from './state.ts'

/** The counts of one version and arm in one tick of one generation, over all replicas. */
export interface CountedTick extends Omit<ArmCounts, 'conversions'> {
  version: string
  generation: number
  /** When the tick began, on the database's clock. */
  tickMs: number
  /** Its length. */
  lengthMs: number
}

/** All ticks in which the candidate was in the route, oldest first. */
export function canaryTicks(state: ReleaseState, counted: readonly CountedTick[]): CanaryTick[] {
  const ticks = new Map<number, { tick: CanaryTick; generations: Set<number> }>()
  for (const row of counted) {
    const arm =
      row.version === state.version ? 'canary' : row.version === state.baseline ? 'control' : undefined
    if (arm === undefined) continue
    let found = ticks.get(row.tickMs)
    if (found === undefined) {
      const tick = { startMs: row.tickMs, shareBp: null, canary: nothing(), control: nothing() }
      ticks.set(row.tickMs, (found = { tick, generations: new Set() }))
    }
    found.generations.add(row.generation)
    addCounts(found.tick[arm], row)
  }
  return [...ticks.values()]
    .map(({ tick, generations }) => ({ ...tick, shareBp: shareOf(state, generations) }))
    .sort((a, b) => a.startMs - b.startMs)
}

/** The configured share during a tick; null when it changed within it, or when the candidate only got copies. */
function shareOf(state: ReleaseState, generations: ReadonlySet<number>): number | null {
  const [generation] = generations
  if (generations.size !== 1) return null
  const routed = state.routings.find((each) => each.generation === generation)
  // Where whole replicas have the candidate, what they get is the doing of whoever sends the requests to replicas.
  return routed === undefined || routed.stage === 'shadow' || routed.replicas !== undefined
    ? null
    : routed.shareBp
}

const nothing = (): ArmCounts => ({ requests: 0, errors: 0, invalid: 0, slow95: 0, slow99: 0 })

function addCounts(sum: ArmCounts, row: CountedTick): void {
  sum.requests += row.requests
  sum.errors += row.errors
  sum.invalid += row.invalid
  sum.slow95 += row.slow95
  sum.slow99 += row.slow99
}

export interface Observation {
  counted: readonly CountedTick[]
  /** How long the most silent of the live replicas has counted nothing for this release; null when none is live. */
  staleMs: number | null
  /** How long the stage has been watched. */
  watchedMs: number
  /** Requests that both versions answered and whose outcome is known; absent while there are none. */
  paired?: { b: number; c: number; same: number }
  /** Of an A/B release: the matured outcomes of both arms. */
  cohorts?: AbCohort[]
}

/**
 * What the judge is given at a look. The time of a stage is the time for which it was both watched and counted: a gap in
 * either shortens no window.
 */
export function canaryEvidenceOf(
  state: ReleaseState,
  { counted, staleMs, watchedMs, paired }: Observation,
): CanaryEvidence {
  const ticks = canaryTicks(state, counted)
  const routed = state.routings.at(-1)
  const startedMs = routed?.startedMs ?? 0
  const lengthMs = new Map(counted.map((row) => [row.tickMs, row.lengthMs]))
  const countedMs = ticks
    .filter((tick) => tick.startMs >= startedMs)
    .reduce((sum, tick) => sum + (lengthMs.get(tick.startMs) ?? 0), 0)
  const policy = watchedPolicy(state)
  const stage = state.stage === 'awaiting_decision' ? state.undecidedStage : state.stage
  const steps = stepsOf(state)
  const last = steps.at(-1)
  const nextShareBp = stage === 'canary' ? state.policy.stages[state.stageIndex + 1]?.shareBp : undefined
  return {
    ticks,
    stage: {
      index: Math.max(0, state.routings.length - 1),
      // Of a request that is copied, the shadow gets one answer and the champion another.
      shareBp:
        stage === 'shadow' ? Math.round((10_000 * state.shareBp) / (10_000 + state.shareBp)) : state.shareBp,
      nextShareBp,
      startedMs,
      elapsedMs: Math.min(watchedMs, countedMs),
      minMs: policy?.minMs ?? 0,
      minRequests: policy?.minRequests ?? 0,
      // Proof takes its time, which an admin's order does not give it; what speaks against the candidate counts as ever.
      last:
        stage === 'probation' ||
        (!isBreakGlass(state) && last?.stage === stage && last?.stageIndex === state.stageIndex),
    },
    staleMs,
    paired,
  }
}
