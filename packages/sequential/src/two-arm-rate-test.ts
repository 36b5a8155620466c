/**
 * Tests two arms: whether the event rate of the treatment is above `ratio` times that of the control. It may be evaluated after every tick
 * at the same error probability, and it uses the realised share of each tick, because the share that a router was told is rarely the share
 * that it gave.
 *
 * Given the events of a tick, the treatment's part is binomial with θ0 = r0·w/(r0·w + 1 − w) at the edge of the null hypothesis, w =
 * nT/(nT+nC); each bet replaces r0 by r0·r_k. The likelihood ratio of that conditional binomial is an e-value whatever the base rate, and
 * its product over ticks an e-process, also when base rate and share change from tick to tick. The conditional test is that of Przyborowski
 * and Wilenski (Biometrika, 1940), exact for rare events and conservative for common ones; with a mixture of alternatives as in Robbins
 * (Annals of Mathematical Statistics, 1970).
 */
import { eProcess, ratioGrid, type EProcess } from './e-process.ts'

/** The counts of both arms between two looks; 0 ≤ events ≤ total. One user, or other independent unit, counts as one. */
export interface RateTick {
  treatmentTotal: number
  controlTotal: number
  treatmentEvents: number
  controlEvents: number
}

/** The null hypothesis and the bets against it. */
export interface TwoArmRateOptions {
  /** The tolerated ratio r0, above 0; 1 means "no higher". */
  ratio?: number
  /** The ratios of the bets, relative to r0: `ratioGrid` by default. `inverseGrid` tests the other side: H0 "the ratio is at least r0". */
  grid?: readonly number[]
  /** The weight w_1 of the first start; 1/2 when absent. */
  firstMass?: number
}

/** The evidence that the ratio of two rates is above a limit. */
export interface TwoArmRateTest extends Omit<EProcess, 'add'> {
  /** Adds one tick; a tick with an empty arm is skipped. Does not check the counts: see `isRateTick`. */
  add(tick: RateTick): void
}

/**
 * Opens a test of H0 "rate of the treatment ≤ ratio · rate of the control".
 * @throws RangeError for a ratio or a grid that is not above 0, and for a `firstMass` outside of (0, 1)
 */
export function twoArmRateTest(options: TwoArmRateOptions = {}): TwoArmRateTest {
  const { ratio = 1, grid = ratioGrid, firstMass } = options
  if (!(ratio > 0 && ratio < Infinity)) throw new RangeError(`the ratio is ${ratio}: give a number above 0`)
  if (grid.some((each) => !(each > 0 && each < Infinity)))
    throw new RangeError('the grid has a ratio that is not above 0: give ratioGrid or inverseGrid')
  const process = eProcess(grid.length, firstMass)
  const logGrid = grid.map(Math.log)
  const gains = new Float64Array(grid.length)
  return {
    ...process,
    add({ treatmentTotal, controlTotal, treatmentEvents, controlEvents }) {
      if (treatmentTotal <= 0 || controlTotal <= 0 || (treatmentEvents === 0 && controlEvents === 0)) return
      const w = treatmentTotal / (treatmentTotal + controlTotal)
      const base = ratio * w + 1 - w
      for (let k = 0; k < gains.length; k++) {
        // ln((1−θk)/(1−θ0)) = −ln(spread) and ln(θk/θ0) = ln rk − ln(spread)
        const spread = Math.log((grid[k]! * ratio * w + 1 - w) / base)
        gains[k] = treatmentEvents * (logGrid[k]! - spread) - controlEvents * spread
      }
      process.add(gains)
    },
  }
}

/** Whether the counts of a tick are valid: finite, not negative, and no more events than requests. */
export function isRateTick(tick: RateTick): boolean {
  const { treatmentTotal, controlTotal, treatmentEvents, controlEvents } = tick
  return (
    [treatmentTotal, controlTotal, treatmentEvents, controlEvents].every(
      (n) => Number.isFinite(n) && n >= 0,
    ) &&
    treatmentEvents <= treatmentTotal &&
    controlEvents <= controlTotal
  )
}
