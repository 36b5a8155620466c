/** The policy under which the candidate of a drill is released: the real way, watched by the real judge, without its end. */
import type { DrillPolicy } from '../drill.ts'
import type { ReleasePolicy } from './policy.ts'

/** The way of a drill's release: one watched stage of the usual kind, judged by the usual limits, without a way to promotion. */
export function drillReleasePolicy(base: ReleasePolicy, drill: DrillPolicy): ReleasePolicy {
  const { shareBp, withinMs, harmBudget, traffic } = drill
  const { nonInferiority: _proof, ramp: _ramp, ...limits } = base.limits
  // A sound candidate, of a drill in which something else fails, has half of the time to pass.
  const stage = { shareBp, minMs: Math.floor(withinMs / 2), minRequests: 1, deadlineMs: withinMs }
  return {
    strategy: traffic === 'live' ? 'canary' : 'shadow',
    approval: { approvers: 0, withinMs: base.approval.withinMs },
    ...(traffic === 'live' ? { stages: [stage] } : { shadow: stage, stages: [] }),
    watch: base.watch,
    limits: { ...limits, promotion: 'off', harmBudget },
    whenInconclusive: 'end',
    whenBusy: 'refuse',
    ...(base.qualification ? { qualification: base.qualification } : {}),
  }
}
