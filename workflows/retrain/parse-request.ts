/** Parses the input of a retraining, which may come from a terminal and have any shape. */
import { issueOfBrought } from '../../domain/model/brought-artifact.ts'
import { issuesOfPolicy, type ReleasePolicy } from '../../domain/release/policy.ts'
import type { RetrainReason, RetrainRequest } from '../messages.ts'
import { field, type FieldCheck, optional, recordOf, refuseInput } from '../input/parse-input.ts'

export type CheckedRequest = RetrainRequest &
  Required<Pick<RetrainRequest, 'asOf' | 'reason' | 'requestedBy'>>

const reasons: readonly RetrainReason[] = ['schedule', 'manual', 'trigger', 'drift', 'quality', 'labels']

/** Tolerated difference between clocks. */
const skewMs = 60_000

/** Fills in defaults. Fails the workflow without retry, naming all issues. */
export function parseRetrainRequest(given: unknown, startedAt: Date): CheckedRequest {
  const request = recordOf(given) as Partial<RetrainRequest>
  const issues: string[] = []
  const expect = (field: keyof RetrainRequest, check: FieldCheck) => {
    const issue = check(request[field])
    if (issue !== undefined) issues.push(`"${field}" ${issue}`)
    return issue === undefined
  }
  expect('model', field.name)
  expect('requestedBy', optional(field.name))
  expect('dedupeKey', optional(field.name))
  expect('authorisation', optional(field.object))
  if (expect('asOf', optional(field.time)) && Date.parse(request.asOf ?? '') > startedAt.getTime() + skewMs)
    issues.push('"asOf" is in the future')
  if (request.reason !== undefined && !reasons.includes(request.reason))
    issues.push(`"reason" must be one of ${reasons.join(', ')}`)
  if (request.evidence !== undefined && (typeof request.evidence !== 'object' || request.evidence === null))
    issues.push('"evidence" must be an object')
  expect('artifact', optional(issueOfBrought))
  expect('sweep', optional(field.name))
  expect('overrides', optional(field.object))
  if (request.policy !== undefined) issues.push(...issuesOfGivenPolicy(request.policy))
  refuseInput(given, 'model', issues)
  const { asOf = startedAt.toISOString(), reason = 'manual', requestedBy = 'temporal' } = request
  return { ...(request as RetrainRequest), asOf: new Date(asOf).toISOString(), reason, requestedBy }
}

/** A policy that lacks required parts makes the check itself throw. */
function issuesOfGivenPolicy(policy: ReleasePolicy): string[] {
  try {
    return issuesOfPolicy(policy).map((issue) => `policy: ${issue}`)
  } catch {
    return ['"policy" must be a complete release policy']
  }
}
