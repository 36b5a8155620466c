/** Derives the policies of drills, hotfixes and compressed versions from the policy of a model. */
import type { DrillPolicy } from '../drill.ts'
import type { ReleasePolicy } from './policy.ts'

/** The policy of a drill: one stage with the model's judge and limits, and no promotion. */
export function drillReleasePolicy(base: ReleasePolicy, drill: DrillPolicy): ReleasePolicy {
  const { shareBp, withinMs, harmBudget, traffic } = drill
  const {
    nonInferiority: _proof,
    ramp: _ramp,
    business: _business,
    external: _external,
    ...limits
  } = base.limits
  // The candidate is healthy when the drill's fault is elsewhere; it passes after half of the time.
  const stage = { shareBp, minMs: Math.floor(withinMs / 2), minRequests: 1, deadlineMs: withinMs }
  return {
    strategy: traffic === 'live' ? 'canary' : 'shadow',
    approval: { approvers: 0, withinMs: base.approval.withinMs },
    ...(traffic === 'live' ? { stages: [stage] } : { shadow: stage, stages: [] }),
    watch: base.watch,
    limits: { ...limits, promotion: 'off', harmBudget },
    whenInconclusive: 'end',
    whenBusy: 'refuse',
    qualification: base.qualification,
  }
}

/**
 * The policy of a hotfix: its shorter stages, no shadow, so no proof that needs its pairs, no targeted callers, and the rest of the model's
 * policy.
 */
export function hotfixPolicy(policy: ReleasePolicy): ReleasePolicy {
  if (policy.hotfix === undefined) return policy
  const { shadow: _shadow, targeted: _targeted, ab: _ab, ...rest } = policy
  const { nonInferiority: _proof, ...limits } = policy.limits
  const { stages, probation = policy.probation } = policy.hotfix
  return {
    ...rest,
    strategy: policy.strategy === 'rolling' ? 'rolling' : 'canary',
    stages,
    probation,
    limits,
  }
}

/**
 * The default policy of a compressed version: the shadow of the model's canary, then its last stage. It is released because it answers like its
 * parent, which the shadow shows on real requests, so rising shares would show no more. Without a shadow, which a gateway cannot have, the
 * stages stay. An A/B test would wait for a gain, so its split is a canary. The other strategies keep their steps.
 * @param maxDistance how often its decisions, or how far its numbers, may differ from the champion's in a shadow before it is rolled back, unless
 * the policy has a smaller limit; absent where the champion is not its parent
 */
export function compressedPolicy(policy: ReleasePolicy, maxDistance?: number): ReleasePolicy {
  const { disagreement } = policy.limits
  const own = disagreement === 'off' ? 1 : disagreement.max
  const limits: ReleasePolicy['limits'] =
    maxDistance === undefined
      ? policy.limits
      : { ...policy.limits, disagreement: { max: Math.min(maxDistance, own), action: 'rollback' } }
  const isShown = policy.strategy === 'canary' && policy.shadow !== undefined
  if (!isShown && policy.strategy !== 'ab') return { ...policy, limits }
  const { targeted: _targeted, ab: _ab, ...rest } = policy
  return { ...rest, strategy: 'canary', stages: policy.stages.slice(-1), limits }
}
