/** `tenure releases watch`: follows a release to its end. Redraws in place on a terminal, and prints line by line elsewhere. */
import { outcomeText } from '../../../domain/evaluation/verdict-words.ts'
import { path } from '../../client/client.ts'
import { exitCodes } from '../../exit-codes.ts'
import type { CommandSpec } from '../../program.ts'
import { follow } from '../follow.ts'
import { findReleaseId } from './release-commands.ts'
import type { EvidencePoint } from '../../../api/charts/evidence.ts'
import { evidenceEffect } from '../../../domain/canary/policy.ts'
import { percentText } from '../../../domain/figures.ts'
import { isApproved } from '../../../domain/release/approval.ts'
import { unexposedEnd } from '../../../domain/release/explain.ts'
import {
  observedStage,
  stepsOf,
  type ReleaseState,
  type ReleaseStage,
} from '../../../domain/release/state.ts'
import type { ReleaseAnswer } from '../../client/responses.ts'
import { barOf, type Terminal } from '../../terminal.ts'
import { coloured, share } from '../format.ts'
import { evidencePointsOf, type ChartedRelease } from './release-charts.ts'

/** The number of verdicts to read for the evidence. */
const readVerdicts = 50

export const watchRelease: CommandSpec = {
  name: 'watch <release>',
  summary: 'Follow a release to its end: stages and evidence; exit code 6 unless the version is promoted',
  examples: ['releases watch rel_01h…', 'releases watch flight-delay', 'releases watch iris --json'],
  async run({ terminal, api }, { args }) {
    const id = await findReleaseId(api(), String(args[0]))
    let lastLine = ''
    const ended = await follow(
      terminal,
      () => api().get<WatchedRelease>(path`/v1/releases/${id}`, { limit: readVerdicts }),
      ({ outcome }) => outcome !== undefined,
      (release) => {
        if (terminal.interactive) return terminal.live(watchLines(terminal, release))
        const line = stageLine(release)
        if (line !== lastLine) terminal.say(line)
        lastLine = line
      },
    )
    const { version, outcome = '', reason = '' } = ended
    terminal.answer(
      ended,
      terminal.interactive
        ? watchLines(terminal, ended).join('\n')
        : `${version}: ${outcomeText(outcome)} (${reason})`,
    )
    return outcome === 'promoted' ? exitCodes.done : exitCodes.otherwise
  },
}

// Draws a release for a terminal: its stages as a track, what the running stage still needs, and the evidence against the candidate.

type TrackStatus = 'done' | 'now' | 'upcoming' | 'skipped' | 'failed'

interface TrackStep {
  name: string
  status: TrackStatus
}

interface Planned {
  name: string
  stage: ReleaseStage
  stageIndex: number
}

/** Returns the stages in order, from the pre-flight checks to the end. */
export function releaseTrack(state: ReleaseState): TrackStep[] {
  const { policy, outcome } = state
  const planned: Planned[] = [
    { name: 'pre-flight', stage: 'qualifying', stageIndex: 0 },
    ...(policy.approval.approvers === 0
      ? []
      : [{ name: 'approval', stage: 'awaiting_approval', stageIndex: 0 } as const]),
    ...stepsOf(state).map(({ stage, stageIndex, policy: { shareBp } }) => ({
      name: stage === 'targeted' ? 'targeted callers' : `${stage} ${share(shareBp)}`,
      stage,
      stageIndex,
    })),
    { name: '100 %', stage: 'promoting', stageIndex: 0 },
    // A first version has no champion to hold back, so it has no probation.
    ...(policy.probation === undefined || state.baseline === undefined
      ? []
      : [{ name: 'probation', stage: 'probation', stageIndex: 0 } as const]),
  ]
  const isOver = state.stage === 'ended' || state.stage === 'rolling_back'
  const at = isOver ? placeReached(state, planned) : placeOf(planned, observedStage(state), state.stageIndex)
  const statusOf = (place: number): TrackStatus => {
    if (place !== at && isSkipped(state, planned[place]!)) return 'skipped'
    if (outcome === 'promoted' || place < at) return 'done'
    if (place > at) return 'upcoming'
    return isOver ? 'failed' : 'now'
  }
  return planned.map(({ name }, place) => ({ name, status: statusOf(place) }))
}

const placeOf = (planned: readonly Planned[], stage: ReleaseStage, stageIndex: number): number =>
  planned.findIndex((each) => each.stage === stage && each.stageIndex === stageIndex)

/** Whether a break-glass promotion has left the stage out, or an approval. */
function isSkipped(state: ReleaseState, { stage, stageIndex }: Planned): boolean {
  if (state.breakGlass === undefined) return false
  if (stage === 'awaiting_approval') return !isApproved(state)
  return (
    ['shadow', 'targeted', 'canary'].includes(stage) &&
    !state.routings.some((each) => each.stage === stage && each.stageIndex === stageIndex)
  )
}

/** Returns the furthest stage that a rolled-back or refused release reached. */
function placeReached(state: ReleaseState, planned: readonly Planned[]): number {
  const last = state.routings.at(-1)
  if (last !== undefined) return placeOf(planned, last.stage, last.stageIndex)
  const end = unexposedEnd(state)
  if (end !== undefined) return placeOf(planned, end, 0)
  // It was approved, and no replica has followed its first route.
  return planned.findIndex(({ stage }) => stage !== 'qualifying' && stage !== 'awaiting_approval')
}

const marks: Record<TrackStatus, readonly [mark: string, style: Parameters<Terminal['paint']>[0]]> = {
  done: ['✓', 'green'],
  now: ['●', 'cyan'],
  upcoming: ['○', 'dim'],
  skipped: ['—', 'dim'],
  failed: ['✗', 'red'],
}

interface WatchedRelease extends ReleaseAnswer, Pick<ChartedRelease, 'state' | 'decisions'> {}

/** Describes the stage of a release in one line, for an output that is not redrawn. */
const stageLine = ({ stage, share_bp: bp, paused, why = '', warning }: WatchedRelease): string =>
  `${stage.replaceAll('_', ' ')}${bp > 0 && warning === undefined ? ` ${share(bp)}` : ''}${paused ? ' (paused)' : ''}: ${why}`

const barWidth = 20

/** Draws the release as lines. Each line can be cut without changing the meaning of the others. */
function watchLines(terminal: Terminal, release: WatchedRelease): string[] {
  const { paint } = terminal
  const { state, version, baseline_version: baseline } = release
  const track = releaseTrack(state).map(({ name, status }) => {
    const [mark, style] = marks[status]
    return paint(style, `${mark} ${name}`)
  })
  const against = baseline === undefined ? '' : ` against ${baseline}`
  const [newest] = release.decisions
  return [
    `${paint('bold', version)}${against}`,
    track.join(paint('dim', ' ─ ')),
    release.outcome === undefined
      ? (release.why ?? '')
      : `${coloured(terminal, release.outcome)}: ${release.reason ?? ''}`,
    ...evidenceLines(terminal, release),
    ...(newest === undefined
      ? []
      : [
          paint(
            'dim',
            `${newest.at}  ${newest.kind}: ${newest.reasons.map(({ message }) => message).join('; ')}`,
          ),
        ]),
    ...nextLines(release).map((line) => paint('dim', line)),
  ]
}

/** Draws the newest evidence of the running stage, each value as a share of its decision limit. */
function evidenceLines({ paint }: Terminal, release: WatchedRelease): string[] {
  const points = evidencePointsOf(release)
  const stage = points.at(-1)?.stage
  const newest = new Map(
    points.filter((point) => point.stage === stage).map((point) => [`${point.side} ${point.name}`, point]),
  )
  const excess = release.decisions[0]?.statistics?.['excessBad']
  const budget = release.state.policy.limits.harmBudget
  const harm: Pick<EvidencePoint, 'name' | 'metric' | 'side' | 'share'>[] =
    typeof excess === 'number' && budget > 0
      ? [{ name: 'failure budget', side: 'against', share: Math.max(0, excess) / budget }]
      : []
  return [...newest.values(), ...harm].map(({ name, metric = name, side, share: part }) => {
    const bar = barOf(part, barWidth)
    const effect = evidenceEffect(release.state.policy.limits, metric)
    const of = side === 'for' ? 'of what the stage needs' : `of the way to ${effect}`
    return `  ${name.padEnd(18)} ${paint(side === 'for' ? 'green' : 'yellow', bar)} ${percentText(part)} ${of}`
  })
}

/** Suggests commands for the state of the release. */
function nextLines({ id, stage, outcome }: WatchedRelease): string[] {
  if (outcome !== undefined) return [`tenure releases show ${id}`]
  if (stage === 'awaiting_approval' || stage === 'awaiting_decision')
    return [`Needs a decision: tenure approve ${id}, or tenure reject ${id} --reason "…"`]
  return [`tenure pause ${id} · tenure rollback ${id}`]
}
