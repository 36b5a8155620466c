/**
 * Derives what belongs to a run, which is a retraining, a trial or a sweep: the ids of the rows that it writes, and its end. The end is
 * computed from what its activities have stored; a workflow says only that it is over, and whether it was cancelled.
 */
import type { ErrorCode } from '../errors.ts'
import type { GateVerdict } from '../evaluation/gate.ts'
import { gateVerdictText, outcomeText } from '../evaluation/verdict-words.ts'
import type { ValidationVerdict } from '../validation/expectations.ts'

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

/** The ids of the refit of a run: the validation of its rows, and its training. */
export function refitIdsOf(id: string): Pick<RunIds, 'validationId' | 'trainingId'> {
  const { validationId, trainingId } = idsOfRow(id)
  return { validationId: `${validationId}_refit`, trainingId: `${trainingId}_refit` }
}

/** Returns the model and the workflow run in `retrain/<model>/<run>`; undefined for any other text. */
export function runOfRetraining(id: string): { model: string; runId: string } | undefined {
  const [, model, runId] = /^retrain\/(.+)\/([0-9a-f-]{36})$/.exec(id) ?? []
  return model === undefined || runId === undefined ? undefined : { model, runId }
}

// The end

/** What the gate decided about a run. */
export interface JudgedRun {
  verdict: GateVerdict
  reasons: string[]
  needsPerson: boolean
  /** The champion that it was compared with. */
  baseline?: string
}

/** What the rows say of a run whose workflow is over. */
export interface RunFacts extends RunIds {
  id: string
  model: string
  isCancelled: boolean
  snapshotDigest?: string
  /** With the failed checks, one sentence each. */
  validation?: { verdict: ValidationVerdict; failures: string[] }
  isTrained: boolean
  evaluation?: JudgedRun
  /** Why its artifact is not new. */
  unchanged?: string
  failure?: RunFailure
}

/** What the last failed activity of a run said. */
export interface RunFailure {
  message: string
  /** Present when an error of Tenure caused it. */
  code?: ErrorCode
  /** A trial that was ended because most of its siblings were better (`medianStop`). */
  stopped?: true
}

const blockedText = ({ validation }: RunFacts): string | undefined =>
  validation?.verdict === 'block'
    ? `the data failed validation: ${validation.failures.join('; ')}`
    : undefined

/** What failed: what an activity said, or the stage that has no result. */
function failureOf(facts: RunFacts): RunFailure {
  const { failure, snapshotDigest, validation, isTrained, evaluation } = facts
  if (failure !== undefined) return failure
  const stage =
    snapshotDigest === undefined
      ? 'snapshot'
      : validation === undefined
        ? 'validation'
        : !isTrained
          ? 'training'
          : evaluation === undefined
            ? 'evaluation'
            : 'registration'
  return {
    message: `the ${stage} did not finish and stored no error: its worker was lost, it took too long, or the workers of the model's own task queue failed; Temporal's history of the run has the details`,
  }
}

export interface RetrainingFacts extends RunFacts {
  /** The version that it registered. */
  version?: string
  /** Whether it makes a version smaller. One that is refused says nothing of the model. */
  isCompression?: boolean
  /** Whether it registers a challenger that the gate refused. */
  isRefused?: boolean
  /** The approvals that its release needs. */
  approvers: number
  release?: 'open' | { refused: string } | { queued: string }
  releaseId?: string
}

export type RetrainingEnding = {
  outcome:
    | 'released'
    | 'registered'
    | 'unchanged'
    | 'quarantined'
    | 'not_better'
    | 'insufficient'
    | 'failed'
    | 'cancelled'
  message: string
  errorCode?: ErrorCode
  /** Evidence for the alert that a run without a release raises. */
  alert?: Record<string, unknown>
}

export function endingOfRetraining(facts: RetrainingFacts): RetrainingEnding {
  const { version, unchanged, evaluation, validationId, trainingId, evaluationId } = facts
  if (facts.isCancelled) return { outcome: 'cancelled', message: 'the retraining was cancelled' }
  if (version !== undefined) return endingOfVersion(facts, version)
  if (unchanged !== undefined) return { outcome: 'unchanged', message: unchanged }
  const blocked = blockedText(facts)
  if (blocked !== undefined)
    return {
      outcome: 'quarantined',
      message: blocked,
      alert: { validationId, failures: facts.validation?.failures },
    }
  if (evaluation?.verdict === 'not_better' || evaluation?.verdict === 'insufficient') {
    const { verdict: outcome, reasons, baseline } = evaluation
    return {
      outcome,
      message: `${reasons.join('; ')} (against ${baseline ?? 'the floors'})`,
      ...(facts.isCompression !== true && { alert: { evaluationId, trainingId, reasons } }),
    }
  }
  const { message, code: errorCode } = failureOf(facts)
  // A file that the method does not fit says nothing of the model either.
  const isRefused = facts.isCompression === true && errorCode === 'artifact_invalid'
  return { outcome: 'failed', message, errorCode, ...(!isRefused && { alert: { message } }) }
}

const firstNeedsApproval =
  'the first version of a model needs an approval and approval.by is 0: set it to 1, run `tenure models sync`, and start the release'

/** Why an operator must release a registered version; undefined when the retraining may. */
export function issueOfReleasing({
  approvers,
  evaluation,
}: {
  approvers: number
  evaluation?: JudgedRun
}): string | undefined {
  if (approvers > 0 || evaluation === undefined) return undefined
  const { needsPerson, baseline, reasons } = evaluation
  const issues = [...(needsPerson ? reasons : []), ...(baseline === undefined ? [firstNeedsApproval] : [])]
  return issues.length === 0 ? undefined : issues.join('; ')
}

function endingOfVersion(facts: RetrainingFacts, version: string): RetrainingEnding {
  const { model, evaluation, evaluationId, release, releaseId, failure } = facts
  const registered = (message: string): RetrainingEnding => ({ outcome: 'registered', message })
  if (release === 'open')
    return {
      outcome: 'released',
      message: `${version} ${facts.isRefused === true ? 'was refused by the gate and registered by break-glass' : 'passed the gate'}: release ${releaseId} started`,
    }
  if (release !== undefined)
    return registered(
      'refused' in release
        ? `${version} is registered: ${release.refused}`
        : `${version} is registered; another release of ${model} is open, so it is queued as ${release.queued}`,
    )
  const issue = issueOfReleasing(facts)
  if (issue !== undefined)
    return {
      ...registered(`${version} is registered and must be released by an operator: ${issue}`),
      ...(evaluation?.needsPerson === true && { alert: { evaluationId, reasons: evaluation.reasons } }),
    }
  if (failure?.code === 'release_in_progress')
    return registered(
      `${version} is registered; another release of ${model} is open, so it was not released: ${failure.message}`,
    )
  const message = `${version} is registered and was not released: ${failure?.message ?? 'its release did not start'}`
  return { ...registered(message), alert: { message } }
}

export interface TrialFacts extends RunFacts {
  /** The primary metric on the validation rows, for a trial of a sweep. */
  scored?: { metric: string; score: number }
}

export interface TrialEnding {
  outcome: 'judged' | 'scored' | 'stopped' | 'quarantined' | 'failed' | 'cancelled'
  message: string
  errorCode?: ErrorCode
  /** The verdict of the gate. */
  verdict?: GateVerdict | 'unchanged'
  evaluationId?: string
}

export function endingOfTrial(facts: TrialFacts): TrialEnding {
  const { scored, evaluationId, evaluation, unchanged } = facts
  if (facts.isCancelled) return { outcome: 'cancelled', message: 'the trial was cancelled' }
  if (scored !== undefined)
    return {
      outcome: 'scored',
      message: `${scored.metric} ${scored.score.toPrecision(4)} on the validation rows`,
    }
  const judged = (verdict: GateVerdict | 'unchanged', reasons: readonly string[], baseline?: string) =>
    ({
      outcome: 'judged',
      verdict,
      evaluationId,
      message: `${gateVerdictText(verdict, { isFirst: baseline === undefined })} (against ${baseline ?? 'the floors'}): ${reasons.join('; ')}`,
    }) as const
  if (unchanged !== undefined) return judged('unchanged', [unchanged])
  if (evaluation !== undefined) return judged(evaluation.verdict, evaluation.reasons, evaluation.baseline)
  const blocked = blockedText(facts)
  if (blocked !== undefined) return { outcome: 'quarantined', message: blocked }
  const { message, code: errorCode, stopped } = failureOf(facts)
  return stopped === true ? { outcome: 'stopped', message } : { outcome: 'failed', message, errorCode }
}

export interface SweepFacts extends RunFacts {
  /** Why the winner was chosen, or why none was; absent before the choice. */
  chosen?: { isFound: boolean; message: string }
  /** The retraining of the winner; `busy` while another one of the model runs. */
  retraining?: { outcome?: string; message?: string } | 'busy'
}

export interface SweepEnding {
  outcome: 'chosen' | 'quarantined' | 'failed' | 'cancelled'
  message: string
}

export function endingOfSweep(facts: SweepFacts): SweepEnding {
  const { chosen, retraining, model } = facts
  if (facts.isCancelled) return { outcome: 'cancelled', message: 'the sweep was cancelled' }
  const blocked = blockedText(facts)
  if (blocked !== undefined) return { outcome: 'quarantined', message: blocked }
  if (chosen === undefined || facts.failure !== undefined)
    return { outcome: 'failed', message: failureOf(facts).message }
  if (!chosen.isFound) return { outcome: 'failed', message: chosen.message }
  const retrained =
    retraining === 'busy'
      ? `it was not retrained, because a retraining of ${model} is running`
      : retraining === undefined
        ? 'its retraining did not open'
        : `its retraining ended as ${outcomeText(retraining.outcome ?? 'running')}: ${retraining.message ?? ''}`
  return { outcome: 'chosen', message: `${chosen.message}; ${retrained}` }
}
