/** Compiles the approvals and the drill requirement of a release; a risk class raises their defaults. */
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import { leastHighRisk } from '../../../domain/release/rules/approvals.ts'
import type { Duration, DurationReader } from '../duration.ts'

export type RiskClass = ReleasePolicy['risk']

interface Approvals {
  by?: number
  within?: Duration
  from?: readonly string[]
  business?: readonly string[]
  engineering?: readonly string[]
}

const dayMs = 86_400_000

export function compileApproval(
  at: DurationReader,
  { by, within, from, business, engineering }: Approvals,
  risk: RiskClass,
): ReleasePolicy['approval'] {
  const signed = business !== undefined || engineering !== undefined
  return {
    approvers: by ?? (signed || risk === 'high' ? leastHighRisk.approvers : 1),
    withinMs: at('approval.within', within, 7 * dayMs),
    from,
    ...(signed && { sides: { business: business ?? [], engineering: engineering ?? [] } }),
  }
}

/** Returns the drill requirement of a model file that sets none. */
export const defaultRequireDrill = (risk: RiskClass): ReleasePolicy['requireDrill'] =>
  risk === 'high' ? { withinMs: leastHighRisk.drillWithinMs } : undefined
