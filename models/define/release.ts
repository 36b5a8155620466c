/** Compiles the `release` of a model file (stages, soak times, approvals) into a release policy. */
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
  /** The minimum time in the stage. */
  soak?: Duration
  /** The minimum requests of the candidate. */
  requests?: number
  /** The time after which the stage ends. */
  deadline?: Duration
}
export interface StageSpec extends StageOptions {
  percent: number
}
interface ApprovalSpec {
  /** The number of different approvers. */
  by: number
  /** The time after which the release expires. */
  within: Duration
}

/** A share of the traffic: `percent(5)`, `percent(5, { soak: '10 min', requests: 1000 })`. */
export const percent = (share: number, options: StageOptions = {}): StageSpec => ({
  percent: share,
  ...options,
})

/** The drills of the model. */
export interface DrillSpec {
  /** The period: 30 days without `cron`. */
  every?: Duration
  /** A cron expression in UTC instead of a period. */
  cron?: string
  /** The kinds of drills: all when absent. */
  kinds?: readonly DrillKind[]
  /** `mirrored` when absent: callers never see predictions of the candidate. */
  traffic?: DrillPolicy['traffic']
  /** The share of the traffic, or of the copied requests, in percent: 10. */
  percent?: number
  /** The failed requests that one drill may cause. */
  harmBudget?: number
  /** The time after which the drill has failed: 10 min. */
  within?: Duration
}
/** The options of every strategy. */
interface CommonSpec {
  /** The approvals: one within seven days when absent. */
  approval?: ApprovalSpec
  /** Intervals and timeouts of the observation. */
  watch?: CanarySpec['watch']
  /** The limits of the canary judge, where they differ from the defaults. */
  limits?: Partial<CanaryPolicy>
  /** The result of an inconclusive stage at its deadline. */
  whenInconclusive?: ReleasePolicy['whenInconclusive']
  /** The behaviour while another release of the model is open. */
  whenBusy?: ReleasePolicy['whenBusy']
  /** The shorter stages of a release that is marked as a hotfix. */
  hotfix?: {
    /** The stages. */
    stages: readonly StageSpec[]
    /** 5 min. */
    soak?: Duration
    /** 100. */
    requests?: number
    /** Eight times the soak. */
    deadline?: Duration
  }
  /** The limits of the pre-flight checks, where they differ from the defaults. */
  qualification?: Partial<QualificationLimits>
  /** The drills: once a month on copies of requests when absent. */
  drill?: DrillSpec | 'off'
  /** Refuses a release when the last drill has failed or is older. */
  requireDrill?: {
    /** The maximum age of the last drill. */
    within: Duration
  }
}
export interface CanarySpec extends CommonSpec {
  /** The stages: `[percent(5), percent(25), percent(50)]`. */
  stages: readonly StageSpec[]
  /** The minimum time of stages without their own: 30 min. */
  soak?: Duration
  /** The minimum requests of stages without their own: 400. */
  requests?: number
  /** The deadline of stages without their own: eight times the soak. */
  deadline?: Duration
  /** The shadow before the first stage: copies of all requests for the soak time when absent. */
  shadow?: StageSpec | 'off'
  /** The probation after 100 %: the previous champion keeps `holdback` percent as a control. */
  probation?: (StageOptions & { holdback: number }) | 'off'
  /** Intervals and timeouts of the observation. */
  watch?: {
    /** The length of a counter tick: 10 s. */
    tick?: Duration
    /** The time between two verdicts: 5 s. */
    every?: Duration
    /** How long a candidate stays exposed without a new verdict: 15 s. */
    exposure?: Duration
    /** How long a routing change waits for the replicas before a retry: 10 s. */
    acknowledge?: Duration
    /** How long an inconclusive stage waits for a decision: 1 d. */
    decision?: Duration
  }
}
export type RollingSpec = CanarySpec
export type BlueGreenSpec = Omit<CanarySpec, 'stages'>
export type ShadowSpec = Omit<CanarySpec, 'stages' | 'shadow'> & {
  /** The share of copied requests, and the minimum time. */
  shadow: StageSpec
  /** `promote`, which needs `limits.nonInferiority`, or `ask` an approver. */
  whenPassed?: ReleasePolicy['whenPassed']
}
export type AbSpec = Omit<CanarySpec, 'stages'> & {
  /** The split in percent of the traffic; its deadline is the horizon. */
  split: StageSpec
  /** The metric that decides: `accuracy`, `conversions` or `errors`. */
  metric: AbMetric
  /** The probability of declaring a candidate better that is not: 0.05. */
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
/** Replica by replica: the percentages are shares of the replicas, rounded up. */
export const rolling = (spec: RollingSpec): ReleaseSpec => ({ strategy: 'rolling', spec })
/** From 0 to 100 % at once, after every replica has loaded the candidate; the previous champion stays loaded. */
export const blueGreen = (spec: BlueGreenSpec = {}): ReleaseSpec => ({ strategy: 'blue_green', spec })
/** Copies of requests until the predictions are proven or an approver decides. */
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
  // A shadow of all requests is the default, except where a fixed split decides.
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

/** The optional parts of a policy; drills are on unless turned off. */
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
