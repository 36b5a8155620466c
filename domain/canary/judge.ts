/**
 * The canary judge: looks at everything since the release's canary began and says whether it may go on. Without
 * it a release would be decided by thresholds on one minute's noise, which roll back most good releases in a day
 * and let a doubled error rate through. Every evidence here may be looked at after each tick; the probability of
 * taking back a release that is no worse than its champion is Σα over all metrics, stages and looks together.
 */

import type { CanaryEvidence } from './evidence.ts'
import type { CanaryPolicy } from './policy.ts'
import { incrementalJudge } from './incremental-judge.ts'
import type { Verdict } from '../verdict.ts'

export function judgeCanary(evidence: CanaryEvidence, policy: CanaryPolicy): Verdict {
  const watch = incrementalJudge(policy)
  for (const tick of evidence.ticks) watch.add(tick)
  return watch.judge(evidence)
}
