/** Defines the release for measurements in which processes are replaced mid-canary. */
import { defaultCanaryPolicy } from '../../../domain/canary/policy.ts'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import type { ReleaseState } from '../../../domain/release/state.ts'

/** Returns a policy whose first stage lasts at least `canarySeconds`. Exposure and acknowledgement outlast the restart of a process. */
export function watchedCanary({
  canarySeconds,
  minRequests,
  deadlineMs,
}: {
  canarySeconds: number
  minRequests: number
  deadlineMs: number
}): ReleasePolicy {
  const step = { minMs: 4_000, minRequests, deadlineMs }
  return {
    strategy: 'canary',
    approval: { approvers: 1, withinMs: 600_000 },
    stages: [
      { ...step, minMs: canarySeconds * 1_000, shareBp: 2_000 },
      { ...step, shareBp: 5_000 },
    ],
    probation: { ...step, holdbackBp: 1_000 },
    watch: { tickMs: 500, everyMs: 500, exposureMs: 15_000, acknowledgeMs: 15_000, decisionMs: 600_000 },
    limits: { ...defaultCanaryPolicy, maxStaleMs: 15_000, promotion: 'off', disagreement: 'off' },
  }
}

/** `canary 1`, another stage, or the outcome of a release that has ended. */
export const whereText = ({ stage, stageIndex, outcome }: ReleaseState): string =>
  stage === 'canary' ? `canary ${stageIndex + 1}` : (outcome ?? stage)
