/** Why a release is where it is, in a sentence for people. It reads the state and nothing else, so it cannot be out of date. */
import { nextEffect } from './next-effect.ts'
import { isBreakGlass, isWarming, releaseStages, watchedPolicy, type ReleaseState } from './state.ts'

export function whyWaiting(state: ReleaseState): string {
  const effect = nextEffect(state)
  switch (effect.kind) {
    case 'qualify':
      return `A process of its own is loading ${state.version} and checking it.`
    case 'wait': {
      const missing = state.policy.approval.approvers - state.approvals.length
      return `It waits for ${missing} more approval(s) until ${time(effect.untilMs)}; ${state.requestedBy}, who asked for it, cannot give one.`
    }
    case 'route':
      return state.blockedBy.length > 0
        ? `Not every replica follows generation ${state.generation}: ${state.blockedBy.join('; ')}.`
        : isWarming(state)
          ? `Every replica is loading ${state.version} before the champion moves.`
          : `The replicas are being told to ${state.stage === 'shadow' ? 'show' : 'give'} ${share(state.shareBp)} to ${state.version}.`
    case 'watch':
      return watching(state, effect.untilMs)
    case 'promote':
      return `${state.version} is being made champion.`
    case 'roll_back':
      return `It is being taken back: ${state.rollbackOrder?.reason ?? ''}${tried(state)}.`
    case 'close':
      return `It has ended (${state.outcome ?? ''}) and the end is being written down${tried(state)}.`
    case 'none':
      return `It has ended (${state.outcome ?? ''}): ${state.reason ?? ''}.`
    default:
      return effect satisfies never
  }
}

function watching(state: ReleaseState, untilMs: number | undefined): string {
  const until = untilMs === undefined ? '' : ` until ${time(untilMs)}, then it is taken back`
  if (state.stage === 'awaiting_decision')
    return `A person is asked to approve, resume or reject${until}: ${state.lastVerdict?.reason ?? releaseStages.awaiting_decision}`
  if (state.paused) return `${state.pause?.by ?? 'A person'} has paused it${until}.`
  const asked = watchedPolicy(state)
  if (isBreakGlass(state))
    return (
      `${state.breakGlass?.by} has broken the glass: ${state.version} goes on to all callers when ` +
      `${asked?.minRequests ?? 0} requests at ${share(state.shareBp)} show nothing against it${until}.`
    )
  return (
    `${state.version} is watched at ${share(state.shareBp)} for at least ${seconds(asked?.minMs)} and ` +
    `${asked?.minRequests ?? 0} requests, and for at most ${seconds((asked?.deadlineMs ?? 0) * (1 + state.extensions))}.`
  )
}

const share = (basisPoints: number): string => `${basisPoints / 100} %`
const seconds = (ms = 0): string => `${ms / 1000} s`
const time = (ms: number): string => new Date(ms).toISOString()
const tried = (state: ReleaseState): string =>
  state.attempts === 0 ? '' : ` (tried ${state.attempts} times: ${state.blockedBy.join('; ')})`
