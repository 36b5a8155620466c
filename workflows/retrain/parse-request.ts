/** Parses the input of a retraining, which may come from a terminal and have any shape. */
import { ApplicationFailure } from '@temporalio/workflow'
import { issuesOfPolicy, type ReleasePolicy } from '../../domain/release/policy.ts'
import { isStorable } from '../../domain/postgres-text.ts'
import type { RetrainReason, RetrainRequest } from '../messages.ts'

export type CheckedRequest = RetrainRequest &
  Required<Pick<RetrainRequest, 'asOf' | 'reason' | 'requestedBy'>>

const reasons: readonly RetrainReason[] = ['schedule', 'manual', 'drift', 'quality', 'labels']

/** Tolerated difference between clocks. */
const skewMs = 60_000

/** Fills in defaults. Fails the workflow without retry, naming all issues. */
export function parseRetrainRequest(given: unknown, startedAt: Date): CheckedRequest {
  const request = (typeof given === 'object' && given !== null ? given : {}) as Partial<RetrainRequest>
  const issues: string[] = []
  const text = (name: 'model' | 'requestedBy' | 'dedupeKey', value: unknown) => {
    if (typeof value !== 'string' || value === '') issues.push(`"${name}" must be a non-empty text`)
  }
  text('model', request.model)
  if (request.requestedBy !== undefined) text('requestedBy', request.requestedBy)
  if (request.dedupeKey !== undefined) text('dedupeKey', request.dedupeKey)
  if (request.asOf !== undefined && !isMoment(request.asOf))
    issues.push('"asOf" must be an ISO 8601 time such as 2001-01-29T00:00:00Z')
  else if (Date.parse(request.asOf ?? '') > startedAt.getTime() + skewMs)
    issues.push('"asOf" is in the future')
  if (request.reason !== undefined && !reasons.includes(request.reason))
    issues.push(`"reason" must be one of ${reasons.join(', ')}`)
  if (request.evidence !== undefined && (typeof request.evidence !== 'object' || request.evidence === null))
    issues.push('"evidence" must be an object')
  if (request.policy !== undefined) issues.push(...issuesOfGivenPolicy(request.policy))
  if (!isStorable(request)) issues.push('texts must not contain NUL or lone surrogates')
  if (issues.length > 0)
    throw ApplicationFailure.nonRetryable(
      `the input is not {"model": "<name>", …}: ${issues.join('; ')}`,
      'invalid_request',
      { issues },
    )
  const { asOf = startedAt.toISOString(), reason = 'manual', requestedBy = 'temporal' } = request
  return { ...(request as RetrainRequest), asOf: new Date(asOf).toISOString(), reason, requestedBy }
}

const isMoment = (value: unknown): boolean =>
  typeof value === 'string' && /^\d{4}-\d{2}-\d{2}/.test(value) && !Number.isNaN(Date.parse(value))

/** A policy that lacks required parts makes the check itself throw. */
function issuesOfGivenPolicy(policy: ReleasePolicy): string[] {
  try {
    return issuesOfPolicy(policy).map((issue) => `policy: ${issue}`)
  } catch {
    return ['"policy" must be a complete release policy']
  }
}
