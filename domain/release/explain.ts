/** Explains in one sentence what an open release waits for. Reads only the state, so the sentence is never out of date. */
import { capitalized, counted, groupedDigits, limitText } from '../figures.ts'
import { missingApprovals, missingSidesText } from './approval.ts'
import { isOnProbation } from '../serving/route.ts'
import type { ServedShares } from '../serving/served.ts'
import { targetText } from '../serving/target.ts'
import type { Verdict } from '../verdict.ts'
import { nextEffect } from './next-effect.ts'
import {
  asksAboutAnswers,
  isBreakGlass,
  isWarming,
  releaseStages,
  watchedPolicy,
  type CommandName,
  type ReleaseState,
} from './state.ts'

/** A reason with counts and rates, without the test evidence, which is stored with the decision. */
export const withoutEvidence = (reason: string): string =>
  reason.replaceAll(/[:,] logE \S+ ≥ \d+(?:\.\d+)?(?: from [\d,]+ of [\d,]+ since the release began)?/g, '')

/** Explains what a release waits for; without its `verdict` where the verdict stands beside the sentence. */
export function whyWaiting(state: ReleaseState, { verdict = true } = {}): string {
  const effect = nextEffect(state)
  switch (effect.kind) {
    case 'qualify':
      return `Running pre-flight checks of ${state.version}.`
    case 'wait': {
      const missing = missingApprovals(state)
      return `Needs ${missing} ${missing === 1 ? 'approval' : 'approvals'} by ${time(effect.untilMs)}; requested by ${state.requestedBy} (cannot self-approve)${named(state)}${missingSidesText(state)}.`
    }
    case 'route':
      return state.blockedBy.length > 0
        ? `Waiting for replicas to reach generation ${state.generation}: ${state.blockedBy.join('; ')}.`
        : isWarming(state)
          ? `Every replica is loading ${state.version} before the champion changes.`
          : state.stage === 'targeted'
            ? `Routing ${targeted(state)} to ${state.version}.`
            : `${state.stage === 'shadow' ? 'Copying' : 'Routing'} ${share(state.shareBp)} of traffic to ${state.version}.`
    case 'watch':
      return watching(state, effect.untilMs, verdict)
    case 'promote':
      return `Promoting ${state.version} to champion.`
    case 'roll_back':
      return `Rolling back: ${withoutEvidence(state.rollbackOrder?.reason ?? '')}${tried(state)}.`
    case 'close':
      return `Ended (${plain(state.outcome)}); recording the result${tried(state)}.`
    case 'none':
      return `Ended (${plain(state.outcome)}): ${state.reason ?? ''}.`
    default:
      return effect satisfies never
  }
}

/** Whether a release has a route that gives callers or copies to its candidate. */
const isExposing = ({ stage, routed }: ReleaseState): boolean =>
  routed && stage !== 'rolling_back' && stage !== 'ended'

/** The problem of an open release whose candidate does not serve as its stage says; undefined when it does. */
export function servingProblem(state: ReleaseState, served: ServedShares | undefined): string | undefined {
  if (served === undefined || served.route.release !== state.id || !isExposing(state)) return undefined
  if (served.lapsedMs !== undefined) {
    const { route } = served
    const serves = isOnProbation(route) ? `${route.proven} serves` : 'champion serves'
    const unwatchedMs = served.lapsedMs + state.policy.watch.exposureMs
    return `Not watched for ${remainingText(unwatchedMs)}: candidate gets no traffic, ${serves}`
  }
  return served.problems.length === 0 ? undefined : capitalized(served.problems.join('; '))
}

/**
 * What a running stage lacks to be judged at all, and when it is rolled back for that: "No requests yet. Rolls back in 25 s". Undefined when
 * the newest verdict of the stage rests on data.
 */
export function missingEvidence(
  state: ReleaseState,
  { kind, reasons }: Pick<Verdict, 'kind' | 'reasons'>,
  watchedMs: number,
): string | undefined {
  const effect = nextEffect(state)
  if (kind !== 'no_data' || effect.kind !== 'watch') return undefined
  const what = reasons.map(({ code, message }) => missingWords[code] ?? capitalized(message)).join('; ')
  if (effect.hold) return what
  const leftMs = Math.max(0, effect.deadlineMs - watchedMs)
  return `${what}. Rolls back in ${remainingText(leftMs)}`
}

/** What a reader of an open release must know before its stage: that its candidate is not served, or not judged, as the stage says. */
export const warningOf = (
  state: ReleaseState,
  served: ServedShares | undefined,
  seen:
    | (Partial<Pick<Verdict, 'kind' | 'reasons'>> & { watchedMs: number; unanswered?: UnansweredCommand })
    | undefined,
): string | undefined =>
  unansweredText(seen?.unanswered) ?? servingProblem(state, served) ?? missingOf(state, seen)

const missingOf = (
  state: ReleaseState,
  {
    kind,
    reasons = [],
    watchedMs = 0,
  }: Partial<Pick<Verdict, 'kind' | 'reasons'>> & { watchedMs?: number } = {},
): string | undefined => kind && missingEvidence(state, { kind, reasons }, watchedMs)

/** A command that is recorded and that its release has not answered yet. */
export interface UnansweredCommand {
  command: CommandName
  actor: string
  /** ISO 8601. */
  at: string
}

/** "abort by olga at 12:00:03Z not answered yet": the release goes on until it has answered. */
export const unansweredText = (given: UnansweredCommand | undefined): string | undefined =>
  given &&
  `${given.command} by ${given.actor} at ${new Date(given.at).toISOString().slice(11, 19)}Z not answered yet`

/** The share of traffic that the candidate serves now. */
export const servedBp = ({ version }: ReleaseState, served: ServedShares | undefined): number =>
  served?.shares.get(version) ?? 0

const missingWords: Readonly<Record<string, string>> = { no_traffic: 'No requests yet' }

/** `25 s`, `12 min`, `3 h`, rounded up: nothing happens earlier. */
export const remainingText = (ms: number): string => {
  const seconds = Math.ceil(ms / 1_000)
  if (seconds < 120) return `${seconds} s`
  return seconds < 7_200 ? `${Math.ceil(seconds / 60)} min` : `${Math.ceil(seconds / 3_600)} h`
}

/**
 * The stage before the first request in which a release has ended; undefined for one that is open or got further. The state of an aborted
 * or superseded release does not say which, so it counts as one that awaited its approval.
 */
export function unexposedEnd({
  stage,
  outcome,
  rollbackOrder,
  policy,
}: ReleaseState): 'qualifying' | 'awaiting_approval' | undefined {
  if (stage !== 'ended' || outcome === 'promoted' || rollbackOrder !== undefined) return undefined
  return outcome === 'failed' || policy.approval.approvers === 0 ? 'qualifying' : 'awaiting_approval'
}

const named = ({ policy: { approval } }: ReleaseState): string =>
  approval.from === undefined ? '' : `; only ${approval.from.join(', ')} may approve`

function watching(state: ReleaseState, untilMs: number | undefined, verdict: boolean): string {
  const until =
    untilMs === undefined || asksAboutAnswers(state) ? '' : `; rolls back automatically at ${time(untilMs)}`
  if (state.stage === 'awaiting_decision') {
    const reason = withoutEvidence(state.lastVerdict?.reason ?? releaseStages.awaiting_decision)
    return `Approve, resume or roll back${until}${verdict ? `: ${reason}` : '.'}`
  }
  if (state.paused)
    return `Paused${state.pause === undefined ? '' : ` by ${state.pause.by}`}; an approver resumes it${until}.`
  const policy = watchedPolicy(state)
  const { minRequests = 0 } = policy ?? {}
  const requests = counted(minRequests, 'request')
  if (isBreakGlass(state))
    return (
      `Break-glass promotion by ${state.breakGlass?.by}: ${state.version} gets all traffic after ` +
      `${requests} at ${share(state.shareBp)} without a regression${until}.`
    )
  const deadlineMs = (policy?.deadlineMs ?? 0) * (1 + state.extensions)
  if (state.stage === 'targeted')
    return `Targeted: ${targeted(state)} get ${state.version}; needs ${limitText(policy?.minMs)} and ${groupedDigits(minRequests)} of their requests; deadline ${limitText(deadlineMs)}.`
  const stage = capitalized(state.stage)
  return `${stage} ${share(state.shareBp)}: needs ${limitText(policy?.minMs)} and ${requests}; deadline ${limitText(deadlineMs)}.`
}

const targeted = ({ policy }: ReleaseState): string =>
  policy.targeted === undefined ? 'chosen callers' : targetText(policy.targeted.target)
const plain = (outcome = ''): string => outcome.replaceAll('_', ' ')
const share = (basisPoints: number): string => `${basisPoints / 100} %`
const time = (ms: number): string => new Date(ms).toISOString()
const tried = (state: ReleaseState): string =>
  state.attempts === 0 ? '' : ` (${state.attempts} attempts failed: ${state.blockedBy.join('; ')})`
