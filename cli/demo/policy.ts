/** Defines the release policy of the demo: the stages of the model file in seconds instead of hours, with smaller counts. */
import { defaultCanaryPolicy } from '../../domain/canary/policy.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'

export const storyPolicy: ReleasePolicy = {
  strategy: 'canary',
  approval: { approvers: 1, withinMs: 600_000 },
  shadow: { shareBp: 2_500, minMs: 4_000, minRequests: 200, deadlineMs: 60_000 },
  stages: [
    { shareBp: 500, minMs: 5_000, minRequests: 50, deadlineMs: 60_000 },
    { shareBp: 2_500, minMs: 5_000, minRequests: 300, deadlineMs: 60_000 },
    { shareBp: 5_000, minMs: 5_000, minRequests: 600, deadlineMs: 90_000 },
  ],
  probation: { holdbackBp: 500, minMs: 6_000, minRequests: 1_000, deadlineMs: 60_000 },
  watch: { tickMs: 1_000, everyMs: 1_000, exposureMs: 5_000, acknowledgeMs: 3_000, decisionMs: 60_000 },
  limits: {
    ...defaultCanaryPolicy,
    maxStaleMs: 5_000,
    // A few thousand requests cannot prove non-inferiority, so time and counts decide.
    promotion: 'off',
    // Flight routes are sticky and of unequal size, so the share of flights deviates from the configured share.
    srm: { alpha: 0.001, tolerance: 0.5, designEffect: 50 },
  },
}
