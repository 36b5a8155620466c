/** Bounds what a shadow may cost whose copies are answered by a server that charges for them. */
import { numberText } from '../figures.ts'
import type { Reason } from '../verdict.ts'
import { observedStage, type ReleaseState } from './state.ts'

/** Whether the copies of the present stage have a price and a limit. */
export const isShadowLimited = (state: ReleaseState): boolean =>
  observedStage(state) === 'shadow' &&
  state.policy.limits.shadowCost !== undefined &&
  state.cost?.candidate.paid !== undefined

/** Why the cost of the copies cannot be bounded: the price is not known. Undefined where it is bounded, or no bound is asked for. */
export function unboundedShadow(
  { policy: { shadow, limits } }: Pick<ReleaseState, 'policy'>,
  { isRemote, paid }: { isRemote?: boolean; paid?: object },
): string | undefined {
  const { shadowCost } = limits
  if (shadow === undefined || shadowCost === undefined || isRemote !== true || paid !== undefined)
    return undefined
  return `limits.shadowCost is ${numberText(shadowCost)}, and what its server charges for a row is not known: endpoint.json has no "price", or the answers tell no "usage" of tokens. Write "price": {"per1000": …, "unit": …} into it, 0 where nothing is charged, or leave limits.shadowCost out`
}

/** Returns why no more copies are sent after this many rows; undefined while more may be. */
export function spentShadow(state: ReleaseState, rows: number): Reason | undefined {
  const { shadowCost } = state.policy.limits
  const paid = state.cost?.candidate.paid
  if (!isShadowLimited(state) || shadowCost === undefined || paid === undefined) return undefined
  const spent = (rows * paid.per1000) / 1_000
  if (spent < shadowCost) return undefined
  return {
    code: 'shadow_cost',
    message: `no more requests are copied: ${numberText(rows)} rows have cost ${numberText(spent)} ${paid.unit}, and limits.shadowCost is ${numberText(shadowCost)}`,
    values: { rows, spent, limit: shadowCost },
  }
}
