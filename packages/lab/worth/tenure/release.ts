/**
 * Simulates a release on the requests of the stream: the release reducer and the judge of the live path, on counts, pairs and matured
 * outcomes of these rows. A tick is an hour.
 */
import { judge, withMonitorAlarm } from '../../../../domain/release/judge-stage.ts'
import type { PredictedAnswers } from '../../../../domain/canary/predicted-answers.ts'
import { defaultCanaryPolicy } from '../../../../domain/canary/policy.ts'
import { defaultWatch, type ReleasePolicy } from '../../../../domain/release/policy.ts'
import { type CommandEvent, type StepEvent, advance } from '../../../../domain/release/reducer.ts'
import { openingState, watchedPolicy, type ReleaseState } from '../../../../domain/release/state.ts'
import { hash32 } from '../../../../domain/serving/route.ts'
import { needsApprover } from '../../../../domain/verdict.ts'
import type { PlayedDay, PlayingVersion } from '../contenders.ts'
import type { YearStream, StreamRow } from '../streams.ts'
import { collectEvidence } from './evidence.ts'

const holdbackBp = 1_000

/** Returns a policy with a shadow of four hours, two shares of six hours and a probation of two days, in hours of the stream. */
export function releasePolicyOf({ weekMs }: YearStream): ReleasePolicy {
  const hourMs = weekMs / 168
  const stage = (shareBp: number, hours: number, minRequests: number) => ({
    shareBp,
    minMs: hours * hourMs,
    minRequests,
    deadlineMs: 48 * hourMs,
  })
  return {
    strategy: 'canary',
    approval: { approvers: 0, withinMs: hourMs },
    shadow: stage(10_000, 4, 200),
    stages: [stage(1_000, 6, 30), stage(5_000, 6, 150)],
    probation: { holdbackBp, minMs: 48 * hourMs, minRequests: 1_000, deadlineMs: 144 * hourMs },
    watch: { ...defaultWatch, tickMs: hourMs },
    limits: {
      ...defaultCanaryPolicy,
      maxStaleMs: 2 * hourMs,
      restartMs: 24 * hourMs,
      // A few hundred requests prove no rate below a thousandth.
      promotion: {
        ratio: 2,
        logE: Math.log(20),
        metrics: ['errors'],
        negligibleRate: 0.01,
        at: 'last_stage',
      },
    },
  }
}

export interface PlayedRelease {
  state: ReleaseState
  candidate: PlayingVersion
  baseline: PlayingVersion
  /** Chooses the version that answers each request of an hour; evaluates the judges after it. */
  hour(day: PlayedDay, rows: readonly number[], toMs: number): PlayingVersion[]
  /** The approver's answer to the question of a release. */
  decide(approved: boolean, atMs: number): void
}

export function playRelease(
  stream: YearStream,
  {
    candidate,
    baseline,
    predicted,
    atMs,
  }: {
    candidate: PlayingVersion
    baseline: PlayingVersion
    predicted: PredictedAnswers | undefined
    atMs: number
  },
): PlayedRelease {
  const policy = releasePolicyOf(stream)
  const hourMs = policy.watch.tickMs
  const [candidateId, baselineId] = [candidate.version.id, baseline.version.id]
  const evidence = collectEvidence(stream, { candidate, baseline }, { hourMs, holdbackBp })
  const opened = openingState(
    {
      id: `rel_${candidateId}`,
      model: stream.name,
      version: candidateId,
      baseline: baselineId,
      requestedBy: 'monitor',
      policy,
      digests: { artifact: candidateId, evaluation: candidateId, policy: 'policy' },
      epoch: 1,
      generation: 1,
    },
    atMs,
  )
  const played: PlayedRelease = {
    state: advance(opened, { kind: 'qualified', atMs }).state,
    candidate,
    baseline,
    hour(day, rows, toMs) {
      const { state } = played
      if (state.stage === 'ended') return rows.map(() => (state.promoted ? candidate : baseline))
      const where = state.stage === 'awaiting_decision' ? state.undecidedStage : state.stage
      const share = where === 'shadow' ? 0 : state.shareBp
      const chosen = rows.map((row) =>
        hash32(`${candidateId}/${day.requests[row]!.id}`) % 10_000 < share ? candidate : baseline,
      )
      const { generation } = state
      evidence.count(day, { rows, chosen }, { where, generation, startMs: toMs - hourMs })
      if (state.stage !== 'awaiting_decision') look(toMs)
      return chosen
    },
    decide(approved, at) {
      dispatch({
        kind: 'command',
        command: approved ? 'approve' : 'reject',
        by: 'person',
        role: 'approver',
        inScope: true,
        atMs: at,
        reason: 'as the outcomes of yesterday say',
      })
      settle(at)
    },
  }

  function dispatch(event: StepEvent | CommandEvent): void {
    played.state = advance(played.state, event).state
  }

  /** Runs the steps that need no observation. */
  function settle(at: number): void {
    const next = () => played.state.generation + 1
    for (;;) {
      const { stage, routed } = played.state
      if (stage === 'promoting') dispatch({ kind: 'promoted', atMs: at, epoch: 1, generation: next() })
      else if (stage === 'rolling_back') {
        const wasChampion = played.state.promoted
        const rollbackResult = { champion: baselineId, wasChampion, orderedMs: at, acknowledgedMs: at }
        dispatch({ kind: 'rolled_back', atMs: at, problems: [], rollbackResult })
      } else if (!routed && (stage === 'shadow' || stage === 'canary' || stage === 'probation'))
        dispatch({ kind: 'routed', atMs: at, epoch: 1, generation: next(), startedMs: at })
      else return
    }
  }

  /** Judges the evidence so far. */
  function look(nowMs: number): void {
    const { state } = played
    const limits = watchedPolicy(state)
    if (limits === undefined) return
    const isProbation = state.stage === 'probation'
    const watchedMs = nowMs - state.enteredMs
    const judged = judge(state, { ...evidence.observe({ nowMs, watchedMs, isProbation }), predicted })
    const { verdict, reason } = withMonitorAlarm(judged, isProbation ? evidence.skew() : undefined)
    const due = watchedMs >= limits.deadlineMs || needsApprover(verdict)
    if (verdict.kind !== 'pass' && verdict.kind !== 'fail' && !due) return
    const { kind, questions } = verdict
    dispatch({ kind: 'judged', atMs: nowMs, verdict: kind, reason, due, questions })
    settle(nowMs)
  }

  settle(atMs)
  return played
}

/** Returns what a release shows its approver: whether the candidate loses less on requests whose outcomes are known. */
export function isCandidateBetter(
  stream: YearStream,
  { candidate, baseline }: { candidate: PlayingVersion; baseline: PlayingVersion },
  known: readonly StreamRow[],
): boolean {
  const loss = ({ version, bug }: PlayingVersion) => {
    const rows = known.map(({ features }) => (bug === undefined ? features : bug(features, stream)))
    const answers = version.answer(rows)
    return known.reduce((sum, { told }, i) => sum + (answers[i]! - told) ** 2, 0) / known.length
  }
  return known.length > 0 && loss(candidate) < loss(baseline)
}
