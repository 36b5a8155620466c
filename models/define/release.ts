/** Compiles the `release` of a model file (stages, soak times, approvals) into a release policy. */
import { type CanaryPolicy, defaultCanaryPolicy } from '../../domain/canary/policy.ts'
import {
  defaultQualification,
  isTimes,
  timesRange,
  type QualificationLimits,
} from '../../domain/model/qualification.ts'
import {
  defaultWatch,
  issuesOfPolicy,
  type ReleasePolicy,
  type StagePolicy,
  type WatchPolicy,
  type TargetedPolicy,
} from '../../domain/release/policy.ts'
import type { Features } from '../../domain/model/features.ts'
import type { Output } from '../../domain/tasks/output.ts'
import { defaultRefitDistance, type RefitPolicy } from '../../domain/training/refit.ts'
import type { CostSpec } from './evaluation.ts'
import { durationAt, durationsIn, type Duration, type DurationReader } from './duration.ts'
import { fieldNames, reportUnknown } from './fields.ts'
import type { IssueCollector } from './issues.ts'
import type { SplitSpec } from './split.ts'
import { type EventSpec, compileBusiness } from './release/event.ts'
import { type ExternalSpec, compileExternal } from './release/external.ts'
import { minuteMs, timesOf } from './release/times.ts'
import { leastHighRisk } from '../../domain/release/rules/approval-policy.ts'
import { defaultDrill, type DrillKind, type DrillPolicy } from '../../domain/drill.ts'
import type { CallerTarget } from '../../domain/serving/target.ts'
import { alphaFor } from '../../domain/canary/alpha-split.ts'

interface StageOptions {
  /** The minimum time in the stage. */
  soak?: Duration
  /** The minimum number of the candidate's requests. */
  requests?: number
  /** The time after which the stage ends. */
  deadline?: Duration
}
export interface StageSpec extends StageOptions {
  percent: number
}
interface ApprovalSpec {
  /** The number of distinct approvers. 0 releases without an approver, such as a retraining at night, and is refused for the first version. */
  by: number
  /** The time after which the release expires. */
  within: Duration
  /** The names of users whose approval counts, as given by their keys or the identity provider. Default: every approver. */
  from?: readonly string[]
  /** Users who sign for the business. With `engineering`, one of each side must approve. */
  business?: readonly string[]
  /** Users who sign for engineering. With `business`, one of each side must approve. */
  engineering?: readonly string[]
}

/** Defines a stage by its share of the traffic: `percent(5)`, `percent(5, { soak: '10 min', requests: 1000 })`. */
export const percent = (share: number, options: StageOptions = {}): StageSpec => ({
  percent: share,
  ...options,
})

/** The options of every strategy. */
interface CommonSpec {
  /** The approvals. Default: one within seven days. */
  approval?: ApprovalSpec
  /** Intervals and timeouts of the observation. */
  watch?: CanarySpec['watch']
  /** The limits of the canary judge. Unset fields keep their defaults. */
  limits?: Partial<CanaryPolicy>
  /** The result of an inconclusive stage at its deadline. */
  whenInconclusive?: ReleasePolicy['whenInconclusive']
  /** The behaviour while another release of the model is open. */
  whenBusy?: ReleasePolicy['whenBusy']
  /** The shorter stages of a release that is marked as a hotfix. */
  hotfix?: {
    /** The stages. */
    stages: readonly StageSpec[]
    /** Default: 5 min. */
    soak?: Duration
    /** Default: 100. */
    requests?: number
    /** Default: eight times the soak. */
    deadline?: Duration
  }
  /** The limits of the pre-flight checks. Unset fields keep their defaults. */
  qualification?: Partial<QualificationLimits>
  /** The drills. Default: monthly, on copied requests. */
  drill?: DrillSpec | 'off'
  /**
   * Trains the recipe that has passed the gate again on all matured rows, and releases those weights; only for a split by time. Default:
   * matured for a split by time, off for others.
   */
  refit?: 'matured' | 'off'
  /**
   * The maximum mean change of the answers to the test rows by the refit. Of probabilities: as a multiple of the mean difference between the
   * judged answers to two rows; of numbers: in standard deviations of the labels. Default: 1 for probabilities, 0.2 for numbers.
   */
  refitDistance?: number
  /** Refuses a release if the last drill failed or is too old. */
  requireDrill?: {
    /** The maximum age of the last drill. */
    within: Duration
  }
}
interface ProbationSpec extends StageOptions {
  /** The share that the previous champion keeps serving, in percent. Default: 5. */
  holdback?: number
  /** The share of requests copied to the previous champion, in percent, to compare both predictions. */
  shadow?: number
  /**
   * Whether the probation lasts at least as long as outcomes take to arrive. Default: true, unless `soak` is set here or for all stages.
   */
  coverLabels?: boolean
}
export interface CanarySpec extends CommonSpec {
  /** The callers who get the candidate before any share of the traffic, counted separately; only in `canary`. */
  first?: FirstSpec
  /**
   * What users do after their first request, by the name of the metric: `{ revenue: event('purchase', { max: 500 }) }`. A proven loss rolls
   * back.
   */
  business?: Record<string, EventSpec>
  /**
   * Metrics that other systems measure for each arm, by name: `{ complaints: promql('prometheus', '…{version="$version"}…', { max: 0.2 })
   * }`. A proven loss rolls back.
   */
  external?: Record<string, ExternalSpec>
  /** The stages: `[percent(5), percent(25), percent(50)]`. */
  stages: readonly StageSpec[]
  /** The minimum time of stages without their own. Default: 30 min. */
  soak?: Duration
  /** The minimum requests of stages without their own. Default: 400. */
  requests?: number
  /** The deadline of stages without their own. Default: eight times the soak. */
  deadline?: Duration
  /** The shadow stage before the first stage. Default of a canary: copies of all requests for the soak time; of others none. */
  shadow?: StageSpec | 'off'
  /** The probation after 100 %: the previous champion keeps `holdback` percent as a control. Default: on, with the defaults of its fields. */
  probation?: ProbationSpec | 'off'
  /** Intervals and timeouts of the observation. */
  watch?: {
    /** The length of a counter tick. Default: 10 s. */
    tick?: Duration
    /** The time between two verdicts. Default: 5 s. */
    every?: Duration
    /** How long a candidate stays exposed without a new verdict. Default: 15 s. */
    exposure?: Duration
    /** How long a routing change waits for the replicas before a retry. Default: 10 s. */
    acknowledge?: Duration
    /** How long an inconclusive stage waits for a decision. Default: 1 d. */
    decision?: Duration
  }
}
export type RollingSpec = Omit<CanarySpec, 'first'>
export type BlueGreenSpec = Omit<RollingSpec, 'stages'>
export type ShadowSpec = Omit<RollingSpec, 'stages' | 'shadow'> & {
  /** The share of copied requests, and the minimum time. */
  shadow: StageSpec
  /** Whether a passed shadow promotes (`promote`, which needs `limits.nonInferiority`) or asks an approver (`ask`). */
  whenPassed?: ReleasePolicy['whenPassed']
}
export type AbSpec = Omit<RollingSpec, 'stages'> & {
  /** The split in percent of the traffic; its deadline is the horizon of the test. */
  split: StageSpec
  /** The metric that decides: `accuracy`, `loss`, `conversions`, `errors`, or a name of `business`. */
  metric: string
  /** The probability of wrongly declaring a candidate better. Default: 0.05. */
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

/** Releases in steps: shadow, rising shares, 100 %, probation. */
export const canary = (spec: CanarySpec): ReleaseSpec => ({ strategy: 'canary', spec })
/** Releases replica by replica: the percentages are shares of the replicas, rounded up. */
export const rolling = (spec: RollingSpec): ReleaseSpec => ({ strategy: 'rolling', spec })
/** Switches from 0 to 100 % at once, after every replica has loaded the candidate. The previous champion stays loaded. */
export const blueGreen = (spec: BlueGreenSpec = {}): ReleaseSpec => ({ strategy: 'blue_green', spec })
/** Copies requests until the predictions are proven or an approver decides. */
export const shadow = (spec: ShadowSpec): ReleaseSpec => ({ strategy: 'shadow', spec })
/** Keeps a fixed split until the sequential test on one metric decides, or its horizon is reached. */
export const ab = (spec: AbSpec): ReleaseSpec => ({ strategy: 'ab', spec })
/** Checks floors and an approval, then switches to 100 % at once. */
export const direct = (spec: DirectSpec = {}): ReleaseSpec => ({ strategy: 'direct', spec })

const common: Record<keyof Required<CommonSpec>, 0> = {
  approval: 0,
  watch: 0,
  limits: 0,
  whenInconclusive: 0,
  whenBusy: 0,
  hotfix: 0,
  qualification: 0,
  drill: 0,
  refit: 0,
  refitDistance: 0,
  requireDrill: 0,
}
const staged = {
  ...common,
  soak: 0,
  requests: 0,
  deadline: 0,
  shadow: 0,
  probation: 0,
  business: 0,
  external: 0,
} as const
const fields: Record<ReleaseSpec['strategy'], readonly string[]> = {
  canary: fieldNames<CanarySpec>({ ...staged, stages: 0, first: 0 }),
  rolling: fieldNames<RollingSpec>({ ...staged, stages: 0 }),
  blue_green: fieldNames<BlueGreenSpec>(staged),
  shadow: fieldNames<ShadowSpec>({ ...staged, whenPassed: 0 }),
  ab: fieldNames<AbSpec>({ ...staged, split: 0, metric: 0, alpha: 0 }),
  direct: fieldNames<DirectSpec>(common),
}
const stageFields = fieldNames<StageSpec>({ percent: 0, soak: 0, requests: 0, deadline: 0 })
const approvalFields = fieldNames<ApprovalSpec>({ by: 0, within: 0, from: 0, business: 0, engineering: 0 })
const watchFields = fieldNames<WatchSpec>({ tick: 0, every: 0, exposure: 0, acknowledge: 0, decision: 0 })
const probationFields = ['holdback', 'shadow', 'coverLabels', ...stageFields.slice(1)]

function reportUnknownFields(report: IssueCollector, { strategy, spec }: ReleaseSpec): void {
  const inPart = (part: string, given: object | undefined, known: readonly string[]) =>
    reportUnknown(report, part === '' ? 'release' : `release.${part}`, given, known)
  inPart('', spec, fields[strategy])
  inPart('approval', spec.approval, approvalFields)
  inPart('watch', spec.watch, watchFields)
  inPart('hotfix', spec.hotfix, ['stages', 'soak', 'requests', 'deadline'])
  inPart('qualification', spec.qualification, [
    ...Object.keys(defaultQualification),
    'p99Times',
    'cpuTimes',
    'rssTimes',
  ])
  inPart('requireDrill', spec.requireDrill, ['within'])
  if (spec.drill !== 'off') inPart('drill', spec.drill, drillFields)
  if ('stages' in spec) spec.stages.forEach((each, index) => inPart(`stages[${index}]`, each, stageFields))
  if ('probation' in spec && spec.probation !== 'off') inPart('probation', spec.probation, probationFields)
}

/** Compiles the refit of a release. Weights that have seen the test rows need test rows that are younger, which only a split by time has. */
export function compileRefit(
  report: IssueCollector,
  { spec = {} }: Partial<ReleaseSpec>,
  { kind }: Pick<SplitSpec, 'kind'>,
  output: Output,
): RefitPolicy | undefined {
  const {
    refit = kind === 'time' ? 'matured' : 'off',
    refitDistance: distance = defaultRefitDistance(output),
  } = spec
  if (refit !== 'matured' && refit !== 'off')
    report('release.refit', `matured or off is required, not ${String(refit)}`)
  if (!(typeof distance === 'number' && distance > 0 && Number.isFinite(distance)))
    report('release.refitDistance', `a number above 0 is required, not ${String(distance)}`)
  if (refit !== 'matured') return undefined
  if (kind !== 'time') report('release.refit', 'matured needs a split by time: byTime(…)')
  return { distance }
}

/** Adds the limits of `evaluation.cost` to those of the pre-flight checks, which compare the candidate with the champion. */
export function withCostLimits(
  report: IssueCollector,
  policy: ReleasePolicy,
  cost: CostSpec = {},
): ReleasePolicy {
  for (const [name, value] of Object.entries(cost))
    if (!isTimes(value))
      report(`evaluation.cost.${name}`, `${timesRange} is required, not ${JSON.stringify(value)}`)
  const { p99, processor, memory } = cost
  if (p99 === undefined && processor === undefined && memory === undefined) return policy
  const limits = {
    ...(p99 !== undefined && { p99Times: p99 }),
    ...(processor !== undefined && { cpuTimes: processor }),
    ...(memory !== undefined && { rssTimes: memory }),
  }
  return { ...policy, qualification: { ...policy.qualification, ...limits } }
}

/** Compiles a release. `risk: 'high'` raises the defaults of approvals and drills; values set in the file must be at least as strict. */
export function compileRelease(
  report: IssueCollector,
  { strategy, spec }: ReleaseSpec,
  risk?: RiskClass,
  { features, output }: { features?: Features; output?: Output } = {},
): ReleasePolicy {
  reportUnknownFields(report, { strategy, spec } as ReleaseSpec)
  const at = durationsIn(report, 'release')
  const shared = {
    strategy,
    approval: compileApproval(at, spec.approval ?? {}, risk),
    ...(risk !== undefined && { risk }),
    watch: compileWatch(at, spec.watch ?? {}),
    limits: compileLimits(report, spec),
    ...compileCommon(report, spec, risk),
  }
  if (strategy === 'direct') return checked(report, { ...shared, stages: [] }, output)
  const times = timesOf(at, {
    soakMs: at('soak', spec.soak, 30 * minuteMs),
    deadlineMs: at('deadline', spec.deadline, undefined),
    requests: spec.requests ?? 400,
  })
  const stage = (place: string, each: StageSpec): StagePolicy => ({
    shareBp: basisPoints(each.percent),
    ...times(place, each),
  })
  // The default shadow copies all requests, except in a fixed split.
  const shown = 'shadow' in spec ? spec.shadow : strategy === 'canary' ? percent(100) : 'off'
  const { probation = {} } = spec
  const first = 'first' in spec && spec.first ? compileFirst(report, at, spec.first, features) : undefined
  const specs = strategy === 'ab' ? [spec.split] : 'stages' in spec ? spec.stages : []
  const policy: ReleasePolicy = {
    ...shared,
    ...(shown === 'off' || shown === undefined ? {} : { shadow: stage('shadow', shown) }),
    ...(first && { targeted: first }),
    stages: specs.map((each, index) => stage(strategy === 'ab' ? 'split' : `stages[${index}]`, each)),
    ...(probation === 'off'
      ? {}
      : {
          probation: {
            holdbackBp: basisPoints(probation.holdback ?? 5),
            shadowBp: probation.shadow === undefined ? undefined : basisPoints(probation.shadow),
            coverLabels: probation.coverLabels ?? (probation.soak === undefined && spec.soak === undefined),
            ...times('probation', probation),
          },
        }),
    ...(strategy === 'ab' ? { ab: { metric: spec.metric, alpha: spec.alpha ?? 0.05 } } : {}),
    ...(strategy === 'shadow' && spec.whenPassed !== undefined ? { whenPassed: spec.whenPassed } : {}),
  }
  return checked(report, policy, output)
}

const basisPoints = (share: number): number => Math.round(share * 100)

/** Compiles the optional parts of a policy. Drills are on unless turned off. */
function compileCommon(report: IssueCollector, spec: CommonSpec, risk: RiskClass): Partial<ReleasePolicy> {
  const at = durationsIn(report, 'release')
  const { whenInconclusive, whenBusy, hotfix, qualification, drill = {}, requireDrill } = spec
  return {
    whenInconclusive,
    whenBusy,
    hotfix: hotfix === undefined ? undefined : compileHotfix(at, hotfix),
    qualification,
    ...(drill === 'off' ? {} : { drill: compileDrill(at, drill) }),
    requireDrill:
      requireDrill === undefined
        ? defaultRequireDrill(risk)
        : { withinMs: durationAt(report, 'release.requireDrill.within', requireDrill.within) },
  }
}

function compileHotfix(
  at: DurationReader,
  hotfix: NonNullable<CommonSpec['hotfix']>,
): ReleasePolicy['hotfix'] {
  const times = timesOf(at, {
    soakMs: at('hotfix.soak', hotfix.soak, 5 * minuteMs),
    deadlineMs: at('hotfix.deadline', hotfix.deadline, undefined),
    requests: hotfix.requests ?? 100,
  })
  const stages = hotfix.stages.map((each, index) => ({
    shareBp: basisPoints(each.percent),
    ...times(`hotfix.stages[${index}]`, each),
  }))
  return { stages }
}

type WatchSpec = NonNullable<CanarySpec['watch']>

function compileWatch(
  at: DurationReader,
  { tick, every, exposure, acknowledge, decision }: WatchSpec,
): WatchPolicy {
  return {
    tickMs: at('watch.tick', tick, defaultWatch.tickMs),
    everyMs: at('watch.every', every, defaultWatch.everyMs),
    exposureMs: at('watch.exposure', exposure, defaultWatch.exposureMs),
    acknowledgeMs: at('watch.acknowledge', acknowledge, defaultWatch.acknowledgeMs),
    decisionMs: at('watch.decision', decision, defaultWatch.decisionMs),
  }
}

function checked(report: IssueCollector, policy: ReleasePolicy, output?: Output): ReleasePolicy {
  for (const issue of issuesOfPolicy(policy, output)) report('release', issue)
  return policy
}

// Compiles the approvals and the drill requirement of a release; a risk class raises their defaults.

type RiskClass = ReleasePolicy['risk']

interface Approvals {
  by?: number
  within?: Duration
  from?: readonly string[]
  business?: readonly string[]
  engineering?: readonly string[]
}

const dayMs = 86_400_000

function compileApproval(
  at: DurationReader,
  { by, within, from, business, engineering }: Approvals,
  risk: RiskClass,
): ReleasePolicy['approval'] {
  const signed = business !== undefined || engineering !== undefined
  return {
    approvers: by ?? (signed || risk === 'high' ? leastHighRisk.approvers : 1),
    withinMs: at('approval.within', within, 7 * dayMs),
    from,
    ...(signed && { sides: { business: business ?? [], engineering: engineering ?? [] } }),
  }
}

/** Returns the drill requirement of a model file that sets none. */
const defaultRequireDrill = (risk: RiskClass): ReleasePolicy['requireDrill'] =>
  risk === 'high' ? { withinMs: leastHighRisk.drillWithinMs } : undefined

// Compiles the `drill` of a release into the policy of its drills; absent fields take the defaults.

/** The drills of the model. */
interface DrillSpec {
  /** The interval. Default: 30 days, unless `cron` is set. */
  every?: Duration
  /** A cron expression in UTC instead of an interval. */
  cron?: string
  /** The kinds of drills. Default: all. */
  kinds?: readonly DrillKind[]
  /** Default: `mirrored`, in which callers never receive predictions of the candidate. */
  traffic?: DrillPolicy['traffic']
  /** The share of the traffic, or of the copied requests, in percent. Default: 10. */
  percent?: number
  /** The number of failed requests that one drill may cause. */
  harmBudget?: number
  /** The time after which the drill fails. Default: 10 min. */
  within?: Duration
}

const drillFields = fieldNames<DrillSpec>({
  every: 0,
  cron: 0,
  kinds: 0,
  traffic: 0,
  percent: 0,
  harmBudget: 0,
  within: 0,
})

function compileDrill(
  at: DurationReader,
  { every, cron, kinds, percent: share, within, ...rest }: DrillSpec,
): DrillPolicy {
  return {
    ...defaultDrill,
    ...rest,
    everyMs: at('drill.every', every, cron === undefined ? defaultDrill.everyMs : undefined),
    cron,
    kinds: [...(kinds ?? defaultDrill.kinds)],
    shareBp: share === undefined ? defaultDrill.shareBp : Math.round(share * 100),
    withinMs: at('drill.within', within, defaultDrill.withinMs),
  }
}

// Compiles the `first` of a canary: the callers who get the candidate before any share of the traffic.

/** Set exactly one of `header`, `attribute` and `allowList`. */
export interface FirstSpec {
  /** A header of the request with its value: `'x-preview: on'`. Records of a stream have headers too. */
  header?: string
  /** A feature and the value that it must have in every row of the request: `{ origin: 'JFK' }`. */
  attribute?: Readonly<Record<string, string | number>>
  /** Routing keys: `['user-7', 'user-12']`. */
  allowList?: readonly string[]
  /** The minimum time of the stage. Default: 30 min. */
  soak?: Duration
  /** The minimum number of requests of these callers. Default: 50. */
  requests?: number
  /** The time after which the stage ends. Default: eight times the soak. */
  deadline?: Duration
}

const firstFields = fieldNames<FirstSpec>({
  header: 0,
  attribute: 0,
  allowList: 0,
  soak: 0,
  requests: 0,
  deadline: 0,
})

const place = 'release.first'

/** Returns undefined for a target that was reported as an issue. */
function compileFirst(
  report: IssueCollector,
  at: DurationReader,
  spec: FirstSpec,
  features: Features | undefined,
): TargetedPolicy | undefined {
  reportUnknown(report, place, spec, firstFields)
  const target = targetOf(report, spec, features)
  const times = timesOf(at, { soakMs: 30 * minuteMs, deadlineMs: undefined, requests: 50 })
  return target && { ...times('first', spec), target }
}

function targetOf(
  report: IssueCollector,
  { header, attribute, allowList }: FirstSpec,
  features: Features | undefined,
): CallerTarget | undefined {
  const refuse = (where: string, message: string): undefined => {
    report(`${place}${where}`, message)
    return undefined
  }
  const given = [header, attribute, allowList].filter((each) => each !== undefined)
  if (given.length !== 1)
    return refuse('', `name the callers by one of header, attribute and allowList, not by ${given.length}`)
  if (allowList !== undefined) return { routingKeys: [...allowList] }
  if (header !== undefined) {
    const [, name, value] = /^([^:]+):(.*)$/.exec(header) ?? []
    if (name === undefined)
      return refuse('.header', `a name and a value such as 'x-preview: on' are required, not '${header}'`)
    return { header: { name: name.trim().toLowerCase(), value: value!.trim() } }
  }
  const [[name, value] = ['', ''], ...more] = Object.entries(attribute!)
  if (name === '' || more.length > 0)
    return refuse(
      '.attribute',
      `one feature with its value is required, not ${more.length + Number(name !== '')}`,
    )
  const issue = features && issueOfFeature(features, name, value)
  if (issue !== undefined) return refuse('.attribute', issue)
  return { attribute: { name, value } }
}

/** Returns why no request can have the value; undefined if one can. */
function issueOfFeature(features: Features, name: string, value: string | number): string | undefined {
  const feature = features[name]
  if (feature === undefined)
    return `there is no feature ${name}; the features are ${Object.keys(features).join(', ')}`
  if (feature.kind === 'number')
    return typeof value === 'number' ? undefined : `${name} is a number, so '${value}' never matches`
  if (typeof value !== 'string') return `${name} is a text, so ${value} never matches`
  return feature.kind === 'category' && feature.values?.includes(value) === false
    ? `${name} has no value '${value}'; it has ${feature.values.join(', ')}`
    : undefined
}

// Compiles the limits of the canary judge: the defaults, overridden by the model file.

export interface LimitsSpec {
  limits?: Partial<CanaryPolicy>
  business?: Record<string, EventSpec>
  external?: Record<string, ExternalSpec>
}

/** Metrics of events and of other systems are declared in their own fields. */
const limitFields = fieldNames<Omit<CanaryPolicy, 'business' | 'external'>>({
  errorRatio: 0,
  slowRatio: 0,
  guardRate: 0,
  alpha: 0,
  minDelta: 0,
  maxStaleMs: 0,
  harmBudget: 0,
  shadowCost: 0,
  restartMs: 0,
  promotion: 0,
  nonInferiority: 0,
  srm: 0,
  scoreShift: 0,
  disagreement: 0,
  ramp: 0,
})

/** Business and external metrics add their shares of the α, unless the file splits the α itself. */
function compileLimits(report: IssueCollector, { limits, business, external }: LimitsSpec): CanaryPolicy {
  reportUnknown(report, 'release.limits', limits, limitFields)
  return {
    ...defaultCanaryPolicy,
    alpha: alphaFor({ business: business !== undefined, external: external !== undefined }),
    ...limits,
    ...(business !== undefined && { business: compileBusiness(report, business) }),
    ...(external !== undefined && { external: compileExternal(report, external) }),
  }
}
