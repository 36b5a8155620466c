/** Explains in one sentence what an open release waits for. Reads only the state, so the sentence is never out of date. */
import { capitalized, counted, groupedDigits, limitText } from '../figures.ts'
import { missingApprovals, missingSidesText } from './approval.ts'
import { targetText } from '../serving/target.ts'
import { nextEffect } from './next-effect.ts'
import { isBreakGlass, isWarming, releaseStages, watchedPolicy, type ReleaseState } from './state.ts'

/** A reason with counts and rates, without the test evidence, which is stored with the decision. */
export const withoutEvidence = (reason: string): string =>
  reason.replaceAll(/[:,] logE \S+ ≥ \d+(?:\.\d+)?/g, '')

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
  const until = untilMs === undefined ? '' : `; rolls back automatically at ${time(untilMs)}`
  if (state.stage === 'awaiting_decision') {
    const reason = withoutEvidence(state.lastVerdict?.reason ?? releaseStages.awaiting_decision)
    return `Approve, resume or reject${until}${verdict ? `: ${reason}` : '.'}`
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
