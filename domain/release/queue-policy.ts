/**
 * Decides whether a release is refused, waits or supersedes another one while a release of its model is open. All callers follow one
 * rule, so that a scheduled retraining never supersedes a release that an approver is reviewing.
 */
import type { ReleasePolicy } from './policy.ts'

/** The open releases that a queued release may supersede. */
export type Preemption = 'none' | 'unexposed' | 'exposed'

export interface QueueFacts {
  policy: Pick<ReleasePolicy, 'whenBusy'>
  /** Whether a user, not a retraining, requested the release. */
  byPerson: boolean
  hotfix: boolean
}

/** The releases it may supersede while it waits; `refuse` when it may not wait. */
export function queuePolicy({ policy, byPerson, hotfix }: QueueFacts): Preemption | 'refuse' {
  if (hotfix) return 'exposed'
  const { whenBusy = 'queue' } = policy
  switch (whenBusy) {
    case 'refuse':
      return 'refuse'
    case 'supersede':
      return 'exposed'
    case 'queue':
      return byPerson ? 'unexposed' : 'none'
    default:
      return whenBusy satisfies never
  }
}

/**
 * Why a release may not replace the waiting one; undefined when it may. Only a hotfix replaces a hotfix, and a retraining replaces the
 * release of a user only with `supersede`.
 */
export function issueOfReplacing(
  { version, requestedBy, hotfixReason, preemption }: WaitingRelease,
  requested: Pick<WaitingRelease, 'hotfixReason' | 'preemption'>,
): string | undefined {
  if (hotfixReason !== undefined && requested.hotfixReason === undefined)
    return `the hotfix ${version} waits for its turn`
  if (requested.preemption === 'none' && preemption !== 'none')
    return `${version}, which ${requestedBy} has released, waits for its turn`
  return undefined
}

export interface WaitingRelease {
  version: string
  requestedBy: string
  hotfixReason?: string
  preemption: Preemption
}

/** How long a release waits in the queue before it expires. */
export const maxQueueMs = 7 * 86_400_000
