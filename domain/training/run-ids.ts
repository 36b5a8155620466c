/** Derives the ids of the rows that one run writes (a prefix for each kind, and the run), and reads the run in the id of a retraining. */

export interface RunIds {
  validationId: string
  trainingId: string
  evaluationId: string
}

/** `run`: a workflow run, or what follows the prefix in the id of a trial or a sweep. Dashes are left out. */
export function idsOfRun(run: string): RunIds {
  const bare = run.replaceAll('-', '')
  return { validationId: `val_${bare}`, trainingId: `trn_${bare}`, evaluationId: `evl_${bare}` }
}

/** The same from the id of the run's own row: `retrain/<model>/<run>`, `try_…` or `swp_…`. */
export const idsOfRow = (id: string): RunIds => idsOfRun(id.replace(/^.*\/|^(?:try|swp)_/, ''))

/** Returns the model and the workflow run in `retrain/<model>/<run>`; undefined for any other text. */
export function runOfRetraining(id: string): { model: string; runId: string } | undefined {
  const [, model, runId] = /^retrain\/(.+)\/([0-9a-f-]{36})$/.exec(id) ?? []
  return model === undefined || runId === undefined ? undefined : { model, runId }
}
