/**
 * What a release does while another one of its model is open: it is refused, it waits, or it takes the other's place. One
 * rule for every way in; a retraining at night must not take the place of what a person is about to approve.
 */
import type { ReleasePolicy } from './policy.ts'

/** Whose place a waiting release may take. */
export type Preemption = 'none' | 'unexposed' | 'exposed'

export interface QueueFacts {
  policy: Pick<ReleasePolicy, 'whenBusy'>
  /** Whether a person asks, and not a retraining that has come to its end. */
  byPerson: boolean
  hotfix: boolean
}

/** Whose place it may take while it waits; `refuse` when it may not even wait. */
export function queuePolicy({ policy, byPerson, hotfix }: QueueFacts): Preemption | 'refuse' {
  if (hotfix) return 'exposed'
  switch (policy.whenBusy ?? 'queue') {
    case 'refuse':
      return 'refuse'
    case 'supersede':
      return 'exposed'
    default:
      return byPerson ? 'unexposed' : 'none'
  }
}

/** How long a release waits for its turn before it is given up. */
export const maxQueueMs = 7 * 86_400_000
