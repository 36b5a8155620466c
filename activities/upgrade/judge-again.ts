/** Repeats the verdicts of the last releases with the judges of this build, from the stored counters, and compares them. */
import type { JudgedAgain } from '../../domain/installation/checked-build.ts'
import { findTerminalDecisions, type TerminalDecision } from '../../store/release/decisions.ts'
import type { Store } from '../../store/postgres.ts'
import { reasonOf } from '../../domain/errors.ts'
import type { Verdict } from '../../domain/verdict.ts'
import { judge, type Judgement } from '../release/decide.ts'
import { createObserver } from '../release/observe.ts'

const maxReleases = 50

export async function judgeAgain(store: Store): Promise<JudgedAgain> {
  const result: JudgedAgain = { releases: 0, notComparable: [], differs: [] }
  for (const decided of await findTerminalDecisions(store, maxReleases)) {
    result.releases++
    const { id, releaseId: release, stage } = decided
    const again = await judgeOnce(store, decided)
    if (again === undefined) result.notComparable.push(`${release} (${stage})`)
    else if (again.kind !== decided.verdict.kind)
      result.differs.push({
        release,
        stage,
        decision: id,
        before: textOf(decided.verdict),
        after: textOf(again),
      })
  }
  return result
}

type Told = Pick<Verdict, 'kind' | 'reasons'>

/** The replicas store the counters of a tick some ticks late, so a look may have seen fewer of the last ticks than are stored now. */
const lateTicks = 5

/** Undefined when the stored counters are not those of the decision. */
async function judgeOnce(store: Store, decided: TerminalDecision): Promise<Told | undefined> {
  const { inputs, stage, stageIndex, at } = decided
  const state = { ...decided.state, stage, stageIndex }
  // A stored answer of another system is not requested again.
  if (state.policy.limits.external !== undefined) return undefined
  const { staleMs = 0, watchedMs = 0 } = inputs as { staleMs?: number; watchedMs?: number }
  try {
    const observed = await createObserver({ store }, state)(true)
    const judgedAt = (untilMs: number): Judgement =>
      judge(state, {
        ...observed,
        counted: observed.counted.filter(({ tickMs }) => tickMs <= untilMs),
        staleMs,
        watchedMs,
      })
    const decidedMs = Date.parse(at)
    const whole = judgedAt(decidedMs)
    const earlier = judgedAt(decidedMs - staleMs - lateTicks * state.policy.watch.tickMs)
    const isSame = (['canary', 'control'] as const).every((arm) => {
      const seen = requestsOf(inputs, arm)
      return requestsOf(earlier.inputs, arm) <= seen && seen <= requestsOf(whole.inputs, arm)
    })
    return isSame ? whole.verdict : undefined
  } catch (error) {
    return { kind: 'error', reasons: [{ code: 'error', message: reasonOf(error), values: {} }] }
  }
}

const requestsOf = (inputs: Record<string, unknown>, arm: 'canary' | 'control'): number =>
  (inputs[arm] as { requests?: number } | undefined)?.requests ?? 0

const textOf = ({ kind, reasons }: Told): string =>
  reasons.length === 0 ? kind : `${kind} (${reasons.map(({ code }) => code).join(', ')})`
