/**
 * Decides whether the artifact of a training may become a version, and whether a version may be released: its rows passed their validation,
 * and the gate has judged this artifact of this training well, or the recipe of which it is the checked refit. One rule for the registration, and for the start and the opening of a
 * release.
 */
import type { GateVerdict } from '../evaluation/gate.ts'
import type { ValidationVerdict } from '../validation/expectations.ts'

/** The rows that a version is made of, as the store has them; a row that is absent does not exist. */
export interface Making {
  model: string
  snapshotDigest?: string
  /** The artifact of the version. */
  artifactDigest?: string
  validation?: { model: string; snapshotDigest: string; verdict: ValidationVerdict }
  training?: { model: string; snapshotDigest: string; status: string; artifactDigest?: string }
  /** The training that repeats the judged recipe on all matured rows; `isChecked`: its answers were near those of the judged weights. */
  refit?: { model: string; status: string; artifactDigest?: string; isChecked: boolean }
  evaluation?: {
    model: string
    /** Whether it judged the training of the version. */
    isOfTraining: boolean
    snapshotDigest: string
    artifactDigest: string
    verdict: GateVerdict
  }
}

/** Why not; undefined when it may. `isByBreakGlass`: an admin has ordered it although the gate refused this artifact by this report. */
export function issueOfMaking(
  made: Making,
  { isByBreakGlass = false }: { isByBreakGlass?: boolean } = {},
): string | undefined {
  const { model, snapshotDigest, artifactDigest, validation, training, evaluation, refit } = made
  const isOfRows = (row: { model: string; snapshotDigest: string }) =>
    row.model === model && row.snapshotDigest === snapshotDigest
  if (validation === undefined || !isOfRows(validation)) return 'its rows have not been validated'
  if (validation.verdict === 'block') return 'its rows failed the validation'
  if (training === undefined || !isOfRows(training) || training.status !== 'done')
    return 'its training has not ended'
  const isRefitted = refit !== undefined && artifactDigest !== training.artifactDigest
  const maker = isRefitted ? refit : training
  if (artifactDigest === undefined || maker.artifactDigest !== artifactDigest)
    return 'its training made another artifact'
  if (isRefitted && !(refit.model === model && refit.status === 'done' && refit.isChecked))
    return 'its refitted weights have not passed their check'
  if (evaluation === undefined || !isOfRows(evaluation) || !evaluation.isOfTraining)
    return 'it has not been evaluated'
  if (evaluation.artifactDigest !== training.artifactDigest) return 'its evaluation judged another artifact'
  return evaluation.verdict === 'better' || evaluation.verdict === 'not_worse' || isByBreakGlass
    ? undefined
    : `the verdict of the gate is ${evaluation.verdict}`
}
