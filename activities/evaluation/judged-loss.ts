/** Finds the loss that judges the outcomes of a version. An edited model file does not change it: the policy of its gate is kept. */
import { judgedLossOf, type JudgedLoss } from '../../domain/tasks/losses.ts'
import { findEvaluation } from '../../store/training/evaluations.ts'
import type { Database } from '../../store/postgres.ts'
import type { Version } from '../../store/registry/versions.ts'

export async function findJudgedLoss(
  database: Database,
  { evaluationId, manifest: { output } }: Pick<Version, 'evaluationId' | 'manifest'>,
): Promise<JudgedLoss> {
  return judgedLossOf(output, (await findEvaluation(database, evaluationId))?.report.policy)
}
