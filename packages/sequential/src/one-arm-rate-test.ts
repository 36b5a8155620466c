/**
 * Tests one arm: whether its event rate is above a limit p0, without a control. With p0 = 2 % and α = 0.001 it fires after three requests
 * when all of them fail, and after 87 when a tenth does.
 *
 * The likelihood ratio of x events in n requests: L_k = x·ln(p_k/p0) + (n − x)·ln((1 − p_k)/(1 − p0)), p_k = min(0.95, p0·r_k), in a
 * mixture over the grid (Wald's sequential test with a mixture of alternatives: Robbins, 1970).
 */
import { eProcess, ratioGrid, type EProcess } from './e-process.ts'

/** The evidence that a rate is above a limit. */
export interface OneArmRateTest extends Omit<EProcess, 'add'> {
  /** Adds the requests since the last look and those of them with the event; 0 ≤ events ≤ total. */
  add(total: number, events: number): void
}

/**
 * Opens a test of H0 "the rate is at most `limit`".
 * @param limit the tolerated rate p0, between 0 and 0.95
 * @param grid the bets, relative to the limit. `inverseGrid` tests the other side: H0 "the rate is at least p0".
 * @throws RangeError unless 0 < limit < 1
 */
export function oneArmRateTest(limit: number, grid: readonly number[] = ratioGrid): OneArmRateTest {
  const process = eProcess(grid.length)
  const gainsOf = oneArmRateGains(limit, grid)
  return { ...process, add: (total, events) => process.add(gainsOf(total, events)) }
}

/** The log evidence of counts that the rate is r_k times the limit, for each ratio of the grid. The next call overwrites the array. */
export function oneArmRateGains(
  limit: number,
  grid: readonly number[] = ratioGrid,
): (total: number, events: number) => Float64Array {
  if (!(limit > 0 && limit < 1))
    throw new RangeError(`the limit is ${limit}: give the tolerated rate, between 0 and 0.95`)
  const gains = new Float64Array(grid.length)
  const bad = grid.map((ratio) => Math.log(Math.min(0.95, limit * ratio) / limit))
  const good = grid.map((ratio) => Math.log((1 - Math.min(0.95, limit * ratio)) / (1 - limit)))
  return (total, events) => {
    for (let k = 0; k < gains.length; k++) gains[k] = events * bad[k]! + (total - events) * good[k]!
    return gains
  }
}
