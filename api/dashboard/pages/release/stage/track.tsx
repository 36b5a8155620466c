/** Shows the stages of a release as a track: done, running and upcoming, each with its time and its evidence. */
import { countText } from '../../../../charts/figures.ts'
import { approversOf, isApproved } from '../../../../../domain/release/approval.ts'
import { unexposedEnd } from '../../../../../domain/release/explain.ts'
import type { ReleaseState } from '../../../../../domain/release/state.ts'
import type { PageElement } from '../../../page.ts'
import { durationText, Time } from '../../../components/elements.tsx'
import { sentenceCase } from '../../../labels.ts'
import type { ReleaseSubject } from '../load.ts'
import { remainingMs, type StageRow } from '../stages.ts'

type StepStatus = StageRow['status']

interface TrackStep {
  name: string
  status: StepStatus
  detail: string | PageElement
  /** How much of its time and of its requests the running step has, from 0 to 1. */
  bar?: number
}

const marks: Readonly<Record<StepStatus, [mark: string, word: string]>> = {
  passed: ['✓', 'done'],
  in_progress: ['●', 'now'],
  upcoming: ['○', 'to come'],
  not_reached: ['—', 'not reached'],
  failed: ['✗', 'failed'],
}

export const StageTrack = ({
  subject,
  stages,
}: {
  subject: ReleaseSubject
  stages: readonly StageRow[]
}): PageElement => (
  <ol class="track stages" aria-label="Stages">
    {trackSteps(subject, stages).map(({ name, status, detail, bar }) => (
      <li class={status} aria-current={status === 'in_progress' ? 'step' : undefined}>
        <span class="mark" aria-hidden="true">
          {marks[status][0]}
        </span>
        <span class="step">
          <strong>{sentenceCase(name)}</strong> <span class="aloud">{marks[status][1]}</span>
          {detail !== '' && <span class="quiet small">{detail}</span>}
          {bar !== undefined && <progress value={bar} max={1} aria-label={`${sentenceCase(name)}: done`} />}
        </span>
      </li>
    ))}
    {leftText(subject, stages)}
  </ol>
)

/** How long the release still takes, after its approval. A paused or undecided release waits for a person. */
function leftText(
  { release: { state }, rate }: ReleaseSubject,
  stages: readonly StageRow[],
): PageElement | undefined {
  if (
    rate === undefined ||
    state.paused ||
    state.stage === 'awaiting_decision' ||
    state.stage === 'rolling_back'
  )
    return undefined
  const ms = remainingMs(stages, rate.perSecond)
  if (ms === 0) return undefined
  const text = Number.isFinite(ms) ? `≈ ${durationText(ms)} left` : 'No traffic: no estimate'
  return <li class="left quiet">{text}</li>
}

function trackSteps(
  { release: { state, endedAt, startedAt } }: ReleaseSubject,
  stages: readonly StageRow[],
): TrackStep[] {
  const { policy, approvals, outcome } = state
  const needed = policy.approval.approvers
  const isOver = endedAt !== undefined || state.stage === 'rolling_back'
  const before = beforeStages(state)
  const last = outcome === 'promoted' ? 'passed' : isOver ? 'not_reached' : 'upcoming'
  const probation = stages.some(({ stage }) => stage === 'probation')
  return [
    { name: 'Pre-flight', status: before('qualifying'), detail: <Time at={startedAt} shows="clock" /> },
    ...(needed === 0
      ? []
      : [
          {
            name: 'Approval',
            status: before('awaiting_approval'),
            detail:
              approvals.length > 0
                ? `by ${approversOf(approvals).join(', ')}`
                : before('awaiting_approval') === 'in_progress'
                  ? ''
                  : `${needed} needed`,
          },
        ]),
    ...stages.map((row) => ({
      name: row.name,
      status: row.status,
      detail: detailOf(row),
      ...(row.status === 'in_progress' && { bar: doneOf(row) }),
    })),
    ...(probation ? [] : [{ name: '100 %', status: last, detail: '' } as const]),
  ]
}

/** Returns the status of a step that comes before the first observed stage. */
const beforeStages =
  (state: ReleaseState) =>
  (wanted: 'qualifying' | 'awaiting_approval'): StepStatus => {
    const { stage, breakGlass } = state
    if (stage === wanted) return 'in_progress'
    const end = unexposedEnd(state)
    if (end === wanted) return 'failed'
    if (wanted === 'qualifying') return 'passed'
    if (stage === 'qualifying') return 'upcoming'
    const isSkipped = breakGlass !== undefined && !isApproved(state)
    return end !== undefined || isSkipped ? 'not_reached' : 'passed'
  }

const doneOf = ({ observedMs, candidate, requirements: { minMs, minRequests } }: StageRow): number =>
  Math.min(1, shareOf(observedMs, minMs), shareOf(candidate.requests, minRequests))

const shareOf = (have: number, need: number): number => (need === 0 ? 1 : have / need)

function detailOf({
  status,
  fromMs,
  toMs,
  observedMs,
  candidate,
  requirements,
  decidedBy,
}: StageRow): string | PageElement {
  const { minMs, minRequests } = requirements
  const isTimed = minMs > 0
  if (status === 'upcoming' || status === 'not_reached')
    return `${isTimed ? `${durationText(minMs)} and ` : ''}${countText(minRequests)} requests`
  const requests = countText(candidate.requests)
  if (status === 'in_progress') {
    const time = partOf(observedMs, minMs, durationText)
    const counted =
      candidate.requests > minRequests
        ? `${requests} requests (needs ${countText(minRequests)})`
        : `${requests} of ${countText(minRequests)} requests`
    return `${isTimed ? `${time} · ` : ''}${counted}`
  }
  const took = fromMs === undefined || toMs === undefined ? '' : ` · ${durationText(toMs - fromMs)}`
  return (
    <>
      {fromMs !== undefined && <Time at={new Date(fromMs).toISOString()} shows="clock" />}
      {`${took} · ${requests} requests${decidedBy === undefined ? '' : ` · decided by ${decidedBy}`}`}
    </>
  )
}

/** `25 s of 1 min`, and beyond it `4 min (needs 1 min)`. */
const partOf = (have: number, need: number, textOf: (value: number) => string): string =>
  have > need ? `${textOf(have)} (needs ${textOf(need)})` : `${textOf(have)} of ${textOf(need)}`
