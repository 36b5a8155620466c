/** Computes the stages of a release as table rows: requirements, progress, failures and last verdict. */
import { excessBad } from '../../../../domain/canary/harm-budget.ts'
import type { StagePolicy } from '../../../../domain/release/policy.ts'
import {
  observedStage,
  stepsOf,
  watchedPolicy,
  type ReleaseStage,
  type ReleaseState,
} from '../../../../domain/release/state.ts'
import type { ArmTotal, ShownVerdict } from '../../../../store/dashboard/release-detail.ts'
import { shareText } from '../../components/elements.tsx'
import { stepText } from '../../labels.ts'
import type { ReleaseSubject } from './load.ts'

/** Requests and failed requests of one arm, and its responses slower than the champion's p95 and p99. */
export type StageArm = Record<'requests' | 'bad' | 'errors' | 'invalid' | 'slow95' | 'slow99', number>

export interface StageRow {
  name: string
  stage: ReleaseStage
  stageIndex: number
  /** The share of traffic in basis points; in a shadow, the share of copied requests. */
  shareBp: number
  status: 'passed' | 'in_progress' | 'upcoming' | 'not_reached' | 'failed'
  requirements: Omit<StagePolicy, 'shareBp'>
  fromMs?: number
  toMs?: number
  observedMs: number
  /** In the stage of targeted callers: their requests. */
  candidate: StageArm
  control: StageArm
  /** Requests of targeted callers; never compared with the control. */
  targeted: StageArm
  /** Failed requests above the control's rate, including those of targeted callers; 0 in a shadow, whose copies reach no caller. */
  excess: number
  verdict?: ShownVerdict
  /** The approver who passed the stage, although its last verdict was inconclusive. */
  decidedBy?: string
}

export const noStages = 'This strategy has no observed stages: metric floors and an approval decide.'

type Planned = Pick<StageRow, 'name' | 'stage' | 'stageIndex' | 'shareBp' | 'requirements'>

/** Returns every stage in which the candidate receives requests, in order. */
export function plannedStages(state: ReleaseState): Planned[] {
  // A first version has no champion to hold back, so it has no probation.
  const probation = state.baseline === undefined ? undefined : state.policy.probation
  const planned = stepsOf(state).map(
    ({ stage, stageIndex, policy: { shareBp, ...requirements } }): Planned => ({
      name: stepText(stage, shareBp),
      stage,
      stageIndex,
      shareBp,
      requirements,
    }),
  )
  if (probation !== undefined)
    planned.push({
      name: `probation (${shareText(probation.holdbackBp)} holdback)`,
      stage: 'probation',
      stageIndex: 0,
      shareBp: 10_000 - probation.holdbackBp,
      requirements: watchedPolicy({ ...state, stage: 'probation' }) ?? probation,
    })
  return planned
}

export function stageRows({ release, arms, verdicts, watches }: ReleaseSubject): StageRow[] {
  const { state } = release
  const now = { stage: observedStage(state), stageIndex: state.stageIndex }
  return plannedStages(state).map((planned) => {
    const { stage, stageIndex } = planned
    const isIt = (each: { stage: ReleaseStage; stageIndex: number }) =>
      each.stage === stage && each.stageIndex === stageIndex
    const routed = state.routings.filter(isIt)
    const first = routed[0]
    const next = state.routings.find(
      (each) => first !== undefined && each.startedMs > routed.at(-1)!.startedMs && !isIt(each),
    )
    const isNow = isIt(now)
    const endedMs = release.endedAt === undefined ? undefined : Date.parse(release.endedAt)
    const toMs = next?.startedMs ?? (isNow ? undefined : endedMs)
    const generations = new Set(routed.map(({ generation }) => generation))
    const counted = arms.filter(({ generation }) => generations.has(generation))
    const targeted = sideOf(counted.filter(({ arm }) => arm === 'targeted'))
    const drawn = sideOf(
      counted.filter(({ version, arm }) => version === state.version && arm !== 'targeted'),
    )
    const candidate = stage === 'targeted' ? targeted : drawn
    const control = sideOf(counted.filter(({ version }) => version === state.baseline))
    const verdict = verdicts.findLast(isIt)
    const begun = first !== undefined
    const status = statusOf({ state, stage, isNow, begun, followed: next !== undefined, verdict })
    const isDecided = status === 'passed' && verdict?.kind === 'inconclusive'
    return {
      ...planned,
      requirements: (isNow ? watchedPolicy(state) : undefined) ?? planned.requirements,
      status,
      observedMs: watches.find(isIt)?.watchedMs ?? 0,
      candidate,
      control,
      targeted,
      excess:
        stage === 'shadow'
          ? 0
          : excessBad([
              {
                canaryRequests: drawn.requests + targeted.requests,
                canaryBad: drawn.bad + targeted.bad,
                controlRequests: control.requests,
                controlBad: control.bad,
              },
            ]),
      fromMs: first?.startedMs,
      toMs: first && toMs,
      verdict,
      ...(isDecided && {
        decidedBy: state.approvals.findLast(({ atMs }) => toMs === undefined || atMs <= toMs)?.by,
      }),
    }
  })
}

/** Failed requests above the control's rate in all stages, which the failure budget limits. */
export const excessOf = (stages: readonly StageRow[]): number =>
  stages.reduce((sum, { excess }) => sum + excess, 0)

/**
 * How long a stage takes at least for its time and its requests, in ms: Infinity without traffic. The traffic of targeted callers is unknown
 * and counts as enough.
 */
export function expectedMs(
  { stage, shareBp, requirements: { minMs, minRequests } }: Planned,
  perSecond: number,
  { observedMs, requests }: { observedMs: number; requests: number } = { observedMs: 0, requests: 0 },
): number {
  const missing = Math.max(0, minRequests - requests)
  const needMs =
    missing === 0 || stage === 'targeted' ? 0 : (1_000 * missing) / ((perSecond * shareBp) / 10_000)
  return Math.max(0, minMs - observedMs, needMs)
}

/** How long the stages ahead still take at the present traffic, in ms. */
export const remainingMs = (stages: readonly StageRow[], perSecond: number): number =>
  stages
    .filter(({ status }) => status === 'in_progress' || status === 'upcoming')
    .reduce(
      (sum, row) =>
        sum + expectedMs(row, perSecond, { observedMs: row.observedMs, requests: row.candidate.requests }),
      0,
    )

/** Returns the stage that runs; undefined before the first and after the last. */
export const runningStage = (stages: readonly StageRow[]): StageRow | undefined =>
  stages.find(({ status }) => status === 'in_progress')

interface StagePosition {
  state: ReleaseState
  stage: ReleaseStage
  isNow: boolean
  begun: boolean
  /** Whether a later stage has begun. */
  followed: boolean
  verdict: ShownVerdict | undefined
}

function statusOf({ state, stage, isNow, begun, followed, verdict }: StagePosition): StageRow['status'] {
  if (isNow) return 'in_progress'
  const isOver = state.stage === 'ended' || state.stage === 'rolling_back'
  const isSkipped = state.breakGlass !== undefined && stage !== 'probation'
  if (!begun) return isOver || isSkipped ? 'not_reached' : 'upcoming'
  // The next stage may have no route yet.
  if (followed || !isOver || (state.promoted && stage !== 'probation')) return 'passed'
  return state.outcome === 'promoted' || verdict?.kind === 'pass' ? 'passed' : 'failed'
}

function sideOf(totals: readonly ArmTotal[]): StageArm {
  const total = (name: Exclude<keyof StageArm, 'bad'>) => totals.reduce((sum, each) => sum + each[name], 0)
  const [errors, invalid] = [total('errors'), total('invalid')]
  return {
    requests: total('requests'),
    bad: errors + invalid,
    errors,
    invalid,
    slow95: total('slow95'),
    slow99: total('slow99'),
  }
}
