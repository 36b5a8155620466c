/**
 * Simulates a release on the requests of the stream: the release reducer and the judge of the live path, on counts, pairs and matured
 * outcomes of these rows. A tick is an hour.
 */
import { judge } from '../../../activities/release/decide.ts'
import { withMonitorAlarm } from '../../../activities/release/monitor-alarm.ts'
import { holdbackEvidence, type HoldbackEvidence } from '../../../domain/canary/holdback.ts'
import type { DisagreementEvidence } from '../../../domain/canary/disagreement.ts'
import type { AbPrediction } from '../../../domain/canary/ab-cohorts.ts'
import { defaultCanaryPolicy } from '../../../domain/canary/policy.ts'
import { defaultWatch, type ReleasePolicy } from '../../../domain/release/policy.ts'
import type { CountedTick } from '../../../domain/release/evidence-builder.ts'
import type { CommandEvent, StepEvent } from '../../../domain/release/events.ts'
import { advance } from '../../../domain/release/reducer.ts'
import { openingState, watchedPolicy, type ReleaseState } from '../../../domain/release/state.ts'
import { hash32 } from '../../../domain/serving/route.ts'
import { findSkew, type ReplayedRow } from '../../../domain/monitoring/training-serving-skew.ts'
import { needsApprover, type Reason } from '../../../domain/verdict.ts'
import type { PlayedDay, PlayingVersion } from '../contenders.ts'
import type { YearStream, StreamRow } from '../streams.ts'
import { yesNoOutput } from './gate.ts'

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
  { candidate, baseline, atMs }: { candidate: PlayingVersion; baseline: PlayingVersion; atMs: number },
): PlayedRelease {
  const policy = releasePolicyOf(stream)
  const hourMs = policy.watch.tickMs
  const counted: CountedTick[] = []
  const answered: (AbPrediction & { version: string })[] = []
  /** Rows that the monitor scores again after the promotion. */
  let logged: ReplayedRow[] = []
  const [candidateId, baselineId] = [candidate.version.id, baseline.version.id]
  let disagreement: DisagreementEvidence | undefined
  let holdback: HoldbackEvidence | undefined
  let ticks = 0

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
    hour,
    decide(approved, at) {
      const command: CommandEvent = {
        kind: 'command',
        command: approved ? 'approve' : 'reject',
        by: 'person',
        role: 'approver',
        inScope: true,
        atMs: at,
        reason: 'as the outcomes of yesterday say',
      }
      dispatch(command)
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
  settle(atMs)

  function hour(day: PlayedDay, rows: readonly number[], toMs: number): PlayingVersion[] {
    const { state } = played
    if (state.stage === 'ended') return rows.map(() => (state.promoted ? candidate : baseline))
    const where = state.stage === 'awaiting_decision' ? state.undecidedStage : state.stage
    const share = where === 'shadow' ? 0 : state.shareBp
    const chosen = rows.map((row) =>
      hash32(`${candidateId}/${day.requests[row]!.id}`) % 10_000 < share ? candidate : baseline,
    )
    count(day, rows, chosen, { where, startMs: toMs - hourMs })
    if (state.stage !== 'awaiting_decision') look(toMs)
    return chosen
  }

  function count(
    day: PlayedDay,
    rows: readonly number[],
    chosen: readonly PlayingVersion[],
    { where, startMs }: { where: string | undefined; startMs: number },
  ): void {
    const { generation } = played.state
    const answers = { candidate: day.answers(candidate), baseline: day.answers(baseline) }
    const tick = (version: string, probabilities: readonly number[]) => {
      const yes = probabilities.filter((p) => p >= stream.threshold).length
      const requests = probabilities.length
      const arm = { requests, errors: 0, invalid: 0, slow95: 0, slow99: 0, keys: requests }
      const counts = { ...arm, answers: [requests - yes, yes] }
      counted.push({ version, generation, tickMs: startMs, lengthMs: hourMs, ...counts })
    }
    const by = (served: PlayingVersion) => rows.filter((_, place) => chosen[place] === served)
    const of = (which: keyof typeof answers, some: readonly number[]) =>
      some.map((row) => answers[which][row]!)
    if (where === 'shadow') {
      tick(candidateId, of('candidate', rows))
      tick(baselineId, of('baseline', rows))
      disagreement = paired(stream, disagreement, day, rows, answers)
      return
    }
    tick(candidateId, of('candidate', by(candidate)))
    tick(baselineId, of('baseline', by(baseline)))
    logged = replayed(candidate, day, by(candidate), answers.candidate)
    if (where !== 'probation') return
    rows.forEach((row, place) => {
      const request = day.requests[row]!
      const isCandidate = chosen[place] === candidate
      answered.push({
        version: isCandidate ? candidateId : baselineId,
        arm: isCandidate ? 'canary' : 'control',
        outputs: [answers[isCandidate ? 'candidate' : 'baseline'][row]!],
        atMs: request.atMs,
        value: request.told,
        arrivedMs: request.knownAtMs,
      })
    })
  }

  function look(nowMs: number): void {
    const { state } = played
    const limits = watchedPolicy(state)
    if (limits === undefined) return
    const watchedMs = nowMs - state.enteredMs
    if (state.stage === 'probation' && ticks++ % 3 === 0) holdback = maturedAt(nowMs)
    const observation = { counted, staleMs: 0, watchedMs, disagreement, holdback }
    const judged = judge(state, { ...observation, answerNames: ['no', 'yes'] })
    const { verdict, reason } = withMonitorAlarm(judged, state.stage === 'probation' ? skewOf() : undefined)
    const due = watchedMs >= limits.deadlineMs || needsApprover(verdict)
    if (verdict.kind !== 'pass' && verdict.kind !== 'fail' && !due) return
    const { kind, questions } = verdict
    dispatch({ kind: 'judged', atMs: nowMs, verdict: kind, reason, due, questions })
    settle(nowMs)
  }

  /**
   * Returns the finding of the skew check: the monitor scores rows of a new champion again at the end of its first window, and once a day.
   */
  function skewOf(): Reason | undefined {
    const { status, compared, mismatchedRows } = findSkew(logged)
    const message = `serving skew: ${mismatchedRows} of ${compared} rows differ from training`
    const values = { compared, mismatchedRows }
    return status === 'skew' ? { code: 'monitor_alarm', message, values } : undefined
  }

  function maturedAt(nowMs: number): HoldbackEvidence | undefined {
    const known = answered.map((each) =>
      each.arrivedMs! <= nowMs ? each : { ...each, value: null, arrivedMs: null },
    )
    const block = Math.floor((10_000 - holdbackBp) / holdbackBp)
    const output = yesNoOutput(stream)
    return holdbackEvidence(known, { by: { canary: { output }, control: { output } }, nowMs, block })
  }

  return played
}

/** Returns the answers as they were served, and those of the training path for the logged rows. */
function replayed(
  { version }: PlayingVersion,
  { requests }: PlayedDay,
  rows: readonly number[],
  served: Float32Array,
): ReplayedRow[] {
  const again = version.answer(rows.map((row) => requests[row]!.features))
  return rows.map((row, place) => ({
    predictionId: requests[row]!.id,
    served: { score: served[row]! },
    replayed: { score: again[place]! },
  }))
}

/** Adds the pairs of an hour of shadow: whether both versions decide alike, overall and in each slice. */
function paired(
  { threshold, slices }: YearStream,
  before: DisagreementEvidence | undefined,
  { requests }: PlayedDay,
  rows: readonly number[],
  answers: { candidate: Float32Array; baseline: Float32Array },
): DisagreementEvidence {
  const up = (row: number, which: keyof typeof answers) => answers[which][row]! >= threshold
  const differs = (row: number) => Number(up(row, 'candidate') !== up(row, 'baseline'))
  const add = (name: string, known: readonly number[] | undefined, some: readonly number[]) => {
    const distances = [...(known ?? [0, 0])]
    for (const row of some) distances[differs(row)]!++
    return { name, distances }
  }
  const changed = rows.filter((row) => differs(row) === 1)
  const toYes = changed.filter((row) => up(row, 'candidate')).length
  const earlier = (from: string) => before?.changes.find((each) => each.from === from)?.count ?? 0
  return {
    measure: 'decisions',
    all: add('all requests', before?.all.distances, rows),
    slices: slices.map(({ name, holds }, place) =>
      add(
        name,
        before?.slices[place]?.distances,
        rows.filter((row) => holds(requests[row]!.features)),
      ),
    ),
    changes: [
      { from: 'no', to: 'yes', count: earlier('no') + toYes },
      { from: 'yes', to: 'no', count: earlier('yes') + changed.length - toYes },
    ],
  }
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
