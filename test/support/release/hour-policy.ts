/** Defines a release policy for simulations that last hours instead of days. */
import { dayPolicy, type ReleasePolicy } from '../../../domain/release/policy.ts'

const hourMs = 3_600_000

/** Two stages of half an hour at 100 requests per second. */
export const hourPolicy: ReleasePolicy = {
  ...dayPolicy,
  stages: [500, 2_500].map((shareBp) => ({
    shareBp,
    minMs: hourMs / 2,
    minRequests: 1_000,
    deadlineMs: hourMs,
  })),
}
