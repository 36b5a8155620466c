/** Stores the verdicts of the looks at a stage. */
import { lookRecord, reasonOf, type Judgement, type StageLook } from '../../domain/release/judge-stage.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import type { Database } from '../../store/postgres.ts'
import { findFailVerdict, insertDecision } from '../../store/release/decisions.ts'
import type { Deps } from '../deps.ts'

/** Why an earlier look failed the candidate; undefined when none did. */
export async function failureOf(database: Database, { id }: ReleaseState): Promise<string | undefined> {
  const verdict = await findFailVerdict(database, id)
  return verdict && reasonOf(verdict)
}

/** Stores a verdict; with `look`, also all that it follows from. */
export async function recordDecision(
  deps: Deps,
  state: ReleaseState,
  judgement: Judgement,
  look?: StageLook,
): Promise<void> {
  const { verdict, inputs, reason } = judgement
  const { id: release, stage, stageIndex, digests } = state
  const decision = await insertDecision(deps.store, {
    releaseId: release,
    stage,
    stageIndex,
    verdict,
    inputs,
    policyDigest: digests.policy,
    evidence: look && lookRecord(look),
  })
  deps.log.info({ release, decision, stage, verdict: verdict.kind, judge: verdict.judge }, reason)
}
