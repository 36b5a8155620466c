/** Derives the ids of the rows that one retraining or trial writes: a prefix for each kind, and the workflow run. */

export interface RunIds {
  validationId: string
  trainingId: string
  evaluationId: string
}

/** The run id is a UUID; its dashes are left out. */
export function idsOfRun(runId: string): RunIds {
  const run = runId.replaceAll('-', '')
  return { validationId: `val_${run}`, trainingId: `trn_${run}`, evaluationId: `evl_${run}` }
}
