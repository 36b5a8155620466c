/** A release policy for simulations that need no day. */
import { dayPolicy, type ReleasePolicy } from '../../../domain/release/policy.ts'

const hourMs = 3_600_000

/** Two stages of half an hour at 100 requests a second. */
export const hourPolicy: ReleasePolicy = {
  ...dayPolicy,
  stages: [500, 2_500].map((shareBp) => ({
    shareBp,
    minMs: hourMs / 2,
    minRequests: 1_000,
    deadlineMs: hourMs,
  })),
}
