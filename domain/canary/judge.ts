/**
 * Judges a canary on all ticks since it began. The evidence may be evaluated after each tick: the probability of rolling back a candidate
 * that is no worse than its champion is at most Σα, over all metrics, stages and looks together.
 */
import type { CanaryEvidence } from './evidence.ts'
import type { CanaryPolicy } from './policy.ts'
import { incrementalJudge } from './incremental-judge.ts'
import type { Verdict } from '../verdict.ts'

/** The verdict on the evidence; `error` when the evidence or the policy is invalid. */
export function judgeCanary(evidence: CanaryEvidence, policy: CanaryPolicy): Verdict {
  const judge = incrementalJudge(policy, evidence.answersPerKey)
  for (const tick of evidence.ticks) judge.add(tick)
  return judge.judge(evidence)
}
