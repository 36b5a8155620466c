/** Reads the validation of a retraining or a trial as its page, the API and the command line show it: the failed checks and the next step. */
import { runbookName } from '../../../domain/monitoring/alert-kinds.ts'
import { idsOfRun } from '../../../domain/training/runs.ts'
import { checkRow, checkRows } from '../../../domain/validation/check-rows.ts'
import type { ValidationVerdict } from '../../../domain/validation/expectations.ts'
import * as schema from '../../../domain/schema.ts'
import type { Trial } from '../../../store/training/sweeps.ts'
import { findValidation, resultsOf } from '../../../store/training/snapshots.ts'
import type { Database } from '../../../store/postgres.ts'

export const shownValidation = schema.record(
  {
    snapshotDigest: schema.text,
    verdict: schema.oneOf<ValidationVerdict>('pass', 'warn', 'block'),
    /** The number of expectations, and how many of them quarantine the rows. */
    expectations: schema.count,
    failed: schema.count,
    /** The failed checks and the warnings. */
    checks: schema.list(checkRow),
  },
  {
    /** For quarantined rows: the path of the runbook, and what to do. */
    runbook: schema.text,
    next: schema.text,
  },
)
export type ShownValidation = schema.TypeOf<typeof shownValidation>

/** What a running retraining or trial shows besides its row. */
export const trainingProgress = {
  stage: schema.text,
  epoch: schema.count,
  loss: schema.number,
  waiting: schema.text,
  remedy: schema.text,
  validation: shownValidation,
}

export const validationOfRetraining = ({ model, runId }: { model: string; runId: string }) => ({
  id: idsOfRun(runId).validationId,
  command: `tenure retrain ${model} --watch`,
})

/** Trials of a sweep share the validation of the sweep. */
export const validationOfTrial = ({ model, trainingId }: Pick<Trial, 'model' | 'trainingId'>) => ({
  id: idsOfRun(trainingId.slice('trn_'.length)).validationId,
  command: `tenure try ${model}`,
})

/** Returns undefined before the validation. `command`: what repeats the run when the rows are correct. */
export async function findShownValidation(
  database: Database,
  { id, command }: { id: string; command: string },
): Promise<ShownValidation | undefined> {
  const stored = await findValidation(database, id)
  if (stored === undefined) return undefined
  const { snapshotDigest, verdict } = stored
  const results = resultsOf(stored)
  return {
    snapshotDigest,
    verdict,
    expectations: results.length,
    failed: results.filter(({ passed, severity }) => !passed && severity === 'block').length,
    checks: checkRows(results),
    ...(verdict === 'block' && {
      runbook: `/runbooks/${runbookName('quarantined')}`,
      next: `Correct the rows or the expectation, then run \`${command}\``,
    }),
  }
}
