/** Derives the policy of a drill's release: one stage with the usual judge and limits, and no promotion. */
import type { DrillPolicy } from '../drill.ts'
import type { ReleasePolicy } from './policy.ts'

export function drillReleasePolicy(base: ReleasePolicy, drill: DrillPolicy): ReleasePolicy {
  const { shareBp, withinMs, harmBudget, traffic } = drill
  const { nonInferiority: _proof, ramp: _ramp, business: _business, ...limits } = base.limits
  // The candidate of a drill in which something else fails is healthy; it passes after half of the time.
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
