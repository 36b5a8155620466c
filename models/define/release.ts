/** Release policies in words: stages, soak times and approvals, lowered to the milliseconds the state machine counts. */
import { defaultCanaryPolicy, type CanaryPolicy } from '../../domain/canary/policy.ts'
import type { AbMetric } from '../../domain/canary/ab-test.ts'
import { defaultDrill, type DrillKind, type DrillPolicy } from '../../domain/drill.ts'
import {
  defaultWatch,
  issuesOfPolicy,
  type QualificationLimits,
  type ReleasePolicy,
  type StagePolicy,
  type WatchPolicy,
} from '../../domain/release/policy.ts'
import { durationAt, type Duration } from './duration.ts'
import type { IssueCollector } from './issues.ts'

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
  /** When they have not by then, the release expires. */
  within: Duration
}

/** A share of the traffic: `percent(5)`, `percent(5, { soak: '10 min', requests: 1000 })`. */
export const percent = (share: number, options: StageOptions = {}): StageSpec => ({
  percent: share,
  ...options,
})

/** How often and how the model is drilled. */
export interface DrillSpec {
  /** 30 days, unless a cron expression or another time is given. */
  every?: Duration
  /** Or at these times, in UTC. */
  cron?: string
  /** What is rehearsed: every kind unless said otherwise. */
  kinds?: readonly DrillKind[]
  /** `mirrored` unless said otherwise: no caller gets an answer of the candidate. */
  traffic?: DrillPolicy['traffic']
  /** The share of the callers, or of the requests that are copied: 10. */
  percent?: number
  /** How many callers one drill may harm. */
  harmBudget?: number
  /** How long the candidate may stay before the drill has failed: 10 min. */
  within?: Duration
}
/** What every strategy may say. */
interface CommonSpec {
  /** One person within seven days, unless said otherwise. */
  approval?: ApprovalSpec
  /** How often is looked, and how long is waited. */
  watch?: CanarySpec['watch']
  /** What the canary judge tolerates, where it is not as usual. */
  limits?: Partial<CanaryPolicy>
  /** What a stage without enough evidence comes to at its deadline. */
  whenInconclusive?: ReleasePolicy['whenInconclusive']
  /** What a release does while another one of the model is open. */
  whenBusy?: ReleasePolicy['whenBusy']
  /** The shorter stages of a release that is marked as a hotfix. */
  hotfix?: {
    /** Its shares. */
    stages: readonly StageSpec[]
    /** 5 min. */
    soak?: Duration
    /** 100. */
    requests?: number
    /** Eight times the soak. */
    deadline?: Duration
  }
  /** What the process that qualifies a candidate may need, where it is not as usual. */
  qualification?: Partial<QualificationLimits>
  /** Once a month on copies of requests, unless said otherwise. */
  drill?: DrillSpec | 'off'
  /** Refuses a release when the last drill has failed or is older. */
  requireDrill?: {
    /** How old the last drill may be. */
    within: Duration
  }
}
export interface CanarySpec extends CommonSpec {
  /** The shares: `[percent(5), percent(25), percent(50)]`. */
  stages: readonly StageSpec[]
  /** Given to each stage that has none of its own: 30 min. */
  soak?: Duration
  /** Given to each stage that has none of its own: 400. */
  requests?: number
  /** Given to each stage that has none of its own: eight times its soak. */
  deadline?: Duration
  /** Copies of requests whose answers nobody sees, before the first stage; all of them for the soak time unless said otherwise. */
  shadow?: StageSpec | 'off'
  /** After 100 %: the previous champion keeps `holdback` percent as a control. */
  probation?: (StageOptions & { holdback: number }) | 'off'
  /** How often is looked, and how long is waited. */
  watch?: {
    /** The length of a counter tick: 10 s. */
    tick?: Duration
    /** How often the judge looks: 5 s. */
    every?: Duration
    /** How long a candidate stays exposed without a fresh verdict: 15 s. */
    exposure?: Duration
    /** How long a routing change waits for the replicas before it is tried again: 10 s. */
    acknowledge?: Duration
    /** How long a person is waited for after an inconclusive stage: 1 d. */
    decision?: Duration
  }
}
export type RollingSpec = CanarySpec
export type BlueGreenSpec = Omit<CanarySpec, 'stages'>
export type ShadowSpec = Omit<CanarySpec, 'stages' | 'shadow'> & {
  /** The share of the requests that are copied, and for how long. */
  shadow: StageSpec
  /** Whether it is then promoted, which needs `limits.nonInferiority`, or a person is asked. */
  whenPassed?: ReleasePolicy['whenPassed']
}
export type AbSpec = Omit<CanarySpec, 'stages'> & {
  /** The split in percent of the callers, with its horizon as the deadline. */
  split: StageSpec
  /** What decides: `accuracy`, `conversions` or `errors`. */
  metric: AbMetric
  /** The probability that a candidate that is not better wins: 0.05. */
  alpha?: number
}
export interface DirectSpec extends CommonSpec {}
export type ReleaseSpec =
  | { strategy: 'canary'; spec: CanarySpec }
  | { strategy: 'rolling'; spec: RollingSpec }
  | { strategy: 'blue_green'; spec: BlueGreenSpec }
  | { strategy: 'shadow'; spec: ShadowSpec }
  | { strategy: 'ab'; spec: AbSpec }
  | { strategy: 'direct'; spec: DirectSpec }

/** Shadow, rising shares, 100 %, probation. */
export const canary = (spec: CanarySpec): ReleaseSpec => ({ strategy: 'canary', spec })
/** Replica by replica: the percentages are of the replicas, rounded up. */
export const rolling = (spec: RollingSpec): ReleaseSpec => ({ strategy: 'rolling', spec })
/** From 0 to 100 % at once, when every replica has loaded it; the previous champion stays loaded to return to. */
export const blueGreen = (spec: BlueGreenSpec = {}): ReleaseSpec => ({ strategy: 'blue_green', spec })
/** Copies of requests until its answers have proven themselves, or a person says so. */
export const shadow = (spec: ShadowSpec): ReleaseSpec => ({ strategy: 'shadow', spec })
/** A fixed split until the sequential test on one metric decides, or its horizon is reached. */
export const ab = (spec: AbSpec): ReleaseSpec => ({ strategy: 'ab', spec })
/** Floors and an approval, then 100 % at once. */
export const direct = (spec: DirectSpec = {}): ReleaseSpec => ({ strategy: 'direct', spec })

type At = (place: string, text: Duration) => number

export function compileRelease(report: IssueCollector, { strategy, spec }: ReleaseSpec): ReleasePolicy {
  const at: At = (place, text) => durationAt(report, `release.${place}`, text)
  const { by = 1, within = '7 d' } = spec.approval ?? {}
  const shared = {
    strategy,
    approval: { approvers: by, withinMs: at('approval.within', within) },
    watch: compileWatch(at, spec.watch ?? {}),
    limits: { ...defaultCanaryPolicy, ...spec.limits },
    ...compileCommon(at, spec),
  }
  if (strategy === 'direct') return checked(report, { ...shared, stages: [] })
  const soakMs = at('soak', spec.soak ?? '30 min')
  const deadlineMs = spec.deadline === undefined ? undefined : at('deadline', spec.deadline)
  const times: Times = (place, options) =>
    timesOf(at, { soakMs, deadlineMs, requests: spec.requests ?? 400 }, place, options)
  const stage = (place: string, each: StageSpec): StagePolicy => ({
    shareBp: Math.round(each.percent * 100),
    ...times(place, each),
  })
  // Before blue and green everybody may be shown to the candidate; where a split decides, nobody is unless it is said.
  const shown = 'shadow' in spec ? spec.shadow : strategy === 'canary' ? percent(100) : 'off'
  const { probation = { holdback: 5 } } = spec
  const specs = strategy === 'ab' ? [spec.split] : 'stages' in spec ? spec.stages : []
  return checked(report, {
    ...shared,
    ...(shown === 'off' || shown === undefined ? {} : { shadow: stage('shadow', shown) }),
    stages: specs.map((each, index) => stage(strategy === 'ab' ? 'split' : `stages[${index}]`, each)),
    ...(probation === 'off'
      ? {}
      : {
          probation: { holdbackBp: Math.round(probation.holdback * 100), ...times('probation', probation) },
        }),
    ...(strategy === 'ab' ? { ab: { metric: spec.metric, alpha: spec.alpha ?? 0.05 } } : {}),
    ...(strategy === 'shadow' && spec.whenPassed !== undefined ? { whenPassed: spec.whenPassed } : {}),
  })
}

type Times = (place: string, options: StageOptions) => Omit<StagePolicy, 'shareBp'>

interface Defaults {
  soakMs: number
  deadlineMs: number | undefined
  requests: number
}

function timesOf(
  at: At,
  { soakMs, deadlineMs, requests }: Defaults,
  place: string,
  options: StageOptions,
): Omit<StagePolicy, 'shareBp'> {
  const minMs = options.soak === undefined ? soakMs : at(`${place}.soak`, options.soak)
  return {
    minMs,
    minRequests: options.requests ?? requests,
    deadlineMs:
      options.deadline === undefined ? (deadlineMs ?? minMs * 8) : at(`${place}.deadline`, options.deadline),
  }
}

/** What is only there when it is said, but for the drills, which are only away when that is said. */
function compileCommon(at: At, spec: CommonSpec): Partial<ReleasePolicy> {
  const { whenInconclusive, whenBusy, hotfix, qualification, drill = {}, requireDrill } = spec
  const soakMs = at('hotfix.soak', hotfix?.soak ?? '5 min')
  const deadlineMs = hotfix?.deadline === undefined ? undefined : at('hotfix.deadline', hotfix.deadline)
  return {
    whenInconclusive,
    whenBusy,
    hotfix:
      hotfix === undefined
        ? undefined
        : {
            stages: hotfix.stages.map((each, index) => ({
              shareBp: Math.round(each.percent * 100),
              ...timesOf(
                at,
                { soakMs, deadlineMs, requests: hotfix.requests ?? 100 },
                `hotfix.stages[${index}]`,
                each,
              ),
            })),
          },
    qualification,
    ...(drill === 'off' ? {} : { drill: compileDrill(at, drill) }),
    ...(requireDrill === undefined
      ? {}
      : { requireDrill: { withinMs: at('requireDrill.within', requireDrill.within) } }),
  }
}

function compileDrill(
  at: At,
  { every, cron, kinds, percent: share, within, ...rest }: DrillSpec,
): DrillPolicy {
  const { everyMs: monthly, ...standard } = defaultDrill
  const everyMs = every === undefined ? (cron === undefined ? monthly : undefined) : at('drill.every', every)
  return {
    ...standard,
    ...rest,
    ...(everyMs === undefined ? {} : { everyMs }),
    ...(cron === undefined ? {} : { cron }),
    ...(kinds === undefined ? {} : { kinds: [...kinds] }),
    ...(share === undefined ? {} : { shareBp: Math.round(share * 100) }),
    ...(within === undefined ? {} : { withinMs: at('drill.within', within) }),
  }
}

function compileWatch(at: At, watch: NonNullable<CanarySpec['watch']>): WatchPolicy {
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

function checked(report: IssueCollector, policy: ReleasePolicy): ReleasePolicy {
  for (const issue of issuesOfPolicy(policy)) report('release', issue)
  return policy
}
