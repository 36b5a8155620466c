/** The way of a release as rows: what each stage asks for, how far it is, and what it has cost in bad answers. */
import { excessBad } from '../../../../domain/canary/harm-budget.ts'
import type { StagePolicy } from '../../../../domain/release/policy.ts'
import { stepsOf, type ReleaseStage, type ReleaseState } from '../../../../domain/release/state.ts'
import type { ArmTotal, ShownVerdict, StageWatch } from '../../../../store/dashboard/release-detail.ts'
import { shareText } from '../../components/elements.tsx'
import type { ReleaseSubject } from './load.ts'

/** Requests and bad answers of one side. */
export interface Side {
  requests: number
  bad: number
}

export interface WayRow {
  name: string
  stage: ReleaseStage
  stageIndex: number
  /** Of the callers; of the requests copied, in a shadow. */
  shareBp: number
  place: 'passed' | 'now' | 'to_come' | 'stopped'
  asks: Omit<StagePolicy, 'shareBp'>
  fromMs?: number
  toMs?: number
  watchedMs: number
  candidate: Side
  control: Side
  /** Bad answers above the control's rate. */
  excess: number
  verdict?: ShownVerdict
}

type Planned = Pick<WayRow, 'name' | 'stage' | 'stageIndex' | 'shareBp' | 'asks'>

/** Every stage in which the candidate meets requests, in order. */
export function planOf(state: Pick<ReleaseState, 'strategy' | 'policy'>): Planned[] {
  const { probation } = state.policy
  return [
    ...stepsOf(state).map(({ stage, stageIndex, policy: { shareBp, ...asks } }) => ({
      name: `${stage} ${shareText(shareBp)}`,
      stage,
      stageIndex,
      shareBp,
      asks,
    })),
    ...(probation === undefined
      ? []
      : [
          {
            name: `probation, ${shareText(probation.holdbackBp)} held back`,
            stage: 'probation' as const,
            stageIndex: 0,
            shareBp: 10_000 - probation.holdbackBp,
            asks: probation,
          },
        ]),
  ]
}

export function wayOf({ release, arms, verdicts, watches }: ReleaseSubject): WayRow[] {
  const { state } = release
  const now = state.stage === 'awaiting_decision' ? (state.undecidedStage ?? 'canary') : state.stage
  return planOf(state).map((planned) => {
    const { stage, stageIndex } = planned
    const isIt = (each: { stage: ReleaseStage; stageIndex: number }) =>
      each.stage === stage && each.stageIndex === stageIndex
    const routed = state.routings.filter(isIt)
    const first = routed[0]
    const next = state.routings.find(
      (each) => first !== undefined && each.startedMs > routed.at(-1)!.startedMs && !isIt(each),
    )
    const isNow = now === stage && (stage !== 'canary' || state.stageIndex === stageIndex)
    const endedMs = release.endedAt === undefined ? undefined : Date.parse(release.endedAt)
    const toMs = next?.startedMs ?? (isNow ? undefined : endedMs)
    const generations = new Set(routed.map(({ generation }) => generation))
    const counted = arms.filter(({ generation }) => generations.has(generation))
    const candidate = sideOf(counted.filter(({ version }) => version === state.version))
    const control = sideOf(counted.filter(({ version }) => version === state.baseline))
    const verdict = verdicts.findLast(isIt)
    return {
      ...planned,
      place: placeOf({ state, isNow, begun: first !== undefined, followed: next !== undefined, verdict }),
      watchedMs: watchedOf(watches, isIt),
      candidate,
      control,
      excess: excessBad([
        {
          canaryRequests: candidate.requests,
          canaryBad: candidate.bad,
          controlRequests: control.requests,
          controlBad: control.bad,
        },
      ]),
      ...(first === undefined ? {} : { fromMs: first.startedMs }),
      ...(first === undefined || toMs === undefined ? {} : { toMs }),
      ...(verdict === undefined ? {} : { verdict }),
    }
  })
}

interface Whereabouts {
  state: ReleaseState
  isNow: boolean
  begun: boolean
  /** Whether another stage has been routed after it. */
  followed: boolean
  verdict: ShownVerdict | undefined
}

function placeOf({ state, isNow, begun, followed, verdict }: Whereabouts): WayRow['place'] {
  if (isNow) return 'now'
  if (!begun) return 'to_come'
  if (followed || state.stage === 'promoting') return 'passed'
  return state.outcome === 'promoted' || verdict?.kind === 'pass' ? 'passed' : 'stopped'
}

const watchedOf = (watches: readonly StageWatch[], isIt: (each: StageWatch) => boolean): number =>
  watches.find(isIt)?.watchedMs ?? 0

const sideOf = (totals: readonly ArmTotal[]): Side => ({
  requests: totals.reduce((sum, { requests }) => sum + requests, 0),
  bad: totals.reduce((sum, { errors, invalid }) => sum + errors + invalid, 0),
})
