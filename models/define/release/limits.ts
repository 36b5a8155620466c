/** Compiles the limits of the canary judge: the defaults, overridden by the model file. */
import { defaultCanaryPolicy, type CanaryPolicy } from '../../../domain/canary/policy.ts'
import { alphaFor } from '../../../domain/sequential/alpha-split.ts'
import { fieldNames, reportUnknown } from '../fields.ts'
import type { IssueCollector } from '../issues.ts'
import { compileBusiness, type EventSpec } from './event.ts'
import { compileExternal, type ExternalSpec } from './external.ts'

export interface LimitsSpec {
  limits?: Partial<CanaryPolicy>
  business?: Record<string, EventSpec>
  external?: Record<string, ExternalSpec>
}

/** Metrics of events and of other systems are declared in their own fields. */
const limitFields = fieldNames<Omit<CanaryPolicy, 'business' | 'external'>>({
  errorRatio: 0,
  slowRatio: 0,
  guardRate: 0,
  alpha: 0,
  minDelta: 0,
  maxStaleMs: 0,
  harmBudget: 0,
  restartMs: 0,
  promotion: 0,
  nonInferiority: 0,
  srm: 0,
  scoreShift: 0,
  disagreement: 0,
  ramp: 0,
})

/** Business and external metrics add their shares of the α, unless the file splits the α itself. */
export function compileLimits(
  report: IssueCollector,
  { limits, business, external }: LimitsSpec,
): CanaryPolicy {
  reportUnknown(report, 'release.limits', limits, limitFields)
  return {
    ...defaultCanaryPolicy,
    alpha: alphaFor({ business: business !== undefined, external: external !== undefined }),
    ...limits,
    ...(business !== undefined && { business: compileBusiness(report, business) }),
    ...(external !== undefined && { external: compileExternal(report, external) }),
  }
}
