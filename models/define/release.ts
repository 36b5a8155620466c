/** Release policies in words: stages, soak times and approvals, lowered to the milliseconds the state machine counts. */
import { defaultCanaryPolicy, type CanaryPolicy } from '../../domain/canary-policy.ts'
import {
  defaultWatch,
  issuesOfPolicy,
  type ReleasePolicy,
  type StagePolicy,
  type WatchPolicy,
} from '../../domain/policy.ts'
import { durationAt, type Duration } from './duration.ts'
import type { Report } from './report.ts'

interface StageOptions {
  /** The shortest time in the stage. */
  soak?: Duration
  /** The fewest requests that must have gone to the candidate. */
  requests?: number
  /** When the stage has not passed by then, it ends. */
  deadline?: Duration
}
export interface StageSpec extends StageOptions {
  percent: number
}
interface ApprovalSpec {
  /** How many different people approve. */
  by: number
  within: Duration
}

/** A share of the traffic: `percent(5)`, `percent(5, { soak: '10 min', requests: 1000 })`. */
export const percent = (share: number, options: StageOptions = {}): StageSpec => ({
  percent: share,
  ...options,
})

export interface CanarySpec {
  stages: readonly StageSpec[]
  /** Given to each stage that has none of its own: 30 min. */
  soak?: Duration
  /** Given to each stage that has none of its own: 400. */
  requests?: number
  /** Given to each stage that has none of its own: eight times its soak. */
  deadline?: Duration
  approval?: ApprovalSpec
  /** Copies of requests whose answers nobody sees, before the first stage; all of them for the soak time unless said otherwise. */
  shadow?: StageSpec | 'off'
  /** After 100 %: the previous champion keeps `holdback` percent as a control. */
  probation?: (StageOptions & { holdback: number }) | 'off'
  watch?: {
    tick?: Duration
    every?: Duration
    exposure?: Duration
    acknowledge?: Duration
    decision?: Duration
  }
  limits?: Partial<CanaryPolicy>
}
export interface DirectSpec {
  approval?: ApprovalSpec
}
export type ReleaseSpec = { strategy: 'canary'; spec: CanarySpec } | { strategy: 'direct'; spec: DirectSpec }

/** Shadow, rising shares, 100 %, probation. */
export const canary = (spec: CanarySpec): ReleaseSpec => ({ strategy: 'canary', spec })
/** Floors and an approval, then 100 % at once. */
export const direct = (spec: DirectSpec = {}): ReleaseSpec => ({ strategy: 'direct', spec })

export function lowerRelease(report: Report, { strategy, spec }: ReleaseSpec): ReleasePolicy {
  const at = (place: string, text: Duration) => durationAt(report, `release.${place}`, text)
  const { by = 1, within = '7 d' } = spec.approval ?? {}
  const approval = { approvers: by, withinMs: at('approval.within', within) }
  if (strategy === 'direct')
    return checked(report, {
      strategy,
      approval,
      stages: [],
      watch: defaultWatch,
      limits: defaultCanaryPolicy,
    })
  const soakMs = at('soak', spec.soak ?? '30 min')
  const deadlineMs = spec.deadline === undefined ? undefined : at('deadline', spec.deadline)
  const times = (place: string, options: StageOptions): Omit<StagePolicy, 'shareBp'> => {
    const minMs = options.soak === undefined ? soakMs : at(`${place}.soak`, options.soak)
    return {
      minMs,
      minRequests: options.requests ?? spec.requests ?? 400,
      deadlineMs:
        options.deadline === undefined
          ? (deadlineMs ?? minMs * 8)
          : at(`${place}.deadline`, options.deadline),
    }
  }
  const stage = (place: string, each: StageSpec): StagePolicy => ({
    shareBp: Math.round(each.percent * 100),
    ...times(place, each),
  })
  const { shadow = percent(100), probation = { holdback: 5 } } = spec
  const policy: ReleasePolicy = {
    strategy,
    approval,
    ...(shadow === 'off' ? {} : { shadow: stage('shadow', shadow) }),
    stages: spec.stages.map((each, index) => stage(`stages[${index}]`, each)),
    ...(probation === 'off'
      ? {}
      : {
          probation: { holdbackBp: Math.round(probation.holdback * 100), ...times('probation', probation) },
        }),
    watch: lowerWatch(at, spec.watch ?? {}),
    limits: { ...defaultCanaryPolicy, ...spec.limits },
  }
  return checked(report, policy)
}

function lowerWatch(
  at: (place: string, text: Duration) => number,
  watch: NonNullable<CanarySpec['watch']>,
): WatchPolicy {
  const { tick, every, exposure, acknowledge, decision } = watch
  return {
    tickMs: tick === undefined ? defaultWatch.tickMs : at('watch.tick', tick),
    everyMs: every === undefined ? defaultWatch.everyMs : at('watch.every', every),
    exposureMs: exposure === undefined ? defaultWatch.exposureMs : at('watch.exposure', exposure),
    acknowledgeMs:
      acknowledge === undefined ? defaultWatch.acknowledgeMs : at('watch.acknowledge', acknowledge),
    decisionMs: decision === undefined ? defaultWatch.decisionMs : at('watch.decision', decision),
  }
}

function checked(report: Report, policy: ReleasePolicy): ReleasePolicy {
  for (const issue of issuesOfPolicy(policy)) report('release', issue)
  return policy
}
