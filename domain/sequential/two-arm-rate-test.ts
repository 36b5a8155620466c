/**
 * Tests two arms: whether the canary's event rate is above `ratio` times the control's. It may be evaluated after every tick at
 * the same false-alarm probability, and it uses the realised share of each tick, because a drifting router would otherwise roll back
 * good releases.
 *
 * Given the events of a tick, the canary's part is binomial with θ0 = r0·w/(r0·w + 1 − w) at the edge of the null hypothesis,
 * w = nC/(nC+nB); each bet replaces r0 by a worse ratio r_k.
 */
import { eProcess, ratioGrid, type EProcess } from './e-process.ts'

export interface RateTick {
  canaryTotal: number
  controlTotal: number
  canaryEvents: number
  controlEvents: number
}

export interface RateTestOptions {
  /** The tolerated ratio r0; 1 means "no worse". */
  ratio?: number
  /** The ratios of the bets, relative to r0. Reciprocals test the other side: H0 "the ratio is at least r0". */
  grid?: readonly number[]
  /** The weight w_1 of the first start; 1/2 when absent. */
  firstMass?: number
}

export interface RateTest extends Omit<EProcess, 'add'> {
  /** Adds one tick; a tick with an empty arm is skipped. */
  add(tick: RateTick): void
}

export function rateTest(options: RateTestOptions = {}): RateTest {
  const { ratio = 1, grid = ratioGrid, firstMass } = options
  const process = eProcess(grid.length, firstMass)
  const logGrid = grid.map(Math.log)
  const gains = new Float64Array(grid.length)
  return {
    ...process,
    add({ canaryTotal, controlTotal, canaryEvents, controlEvents }) {
      if (canaryTotal <= 0 || controlTotal <= 0 || (canaryEvents === 0 && controlEvents === 0)) return
      const w = canaryTotal / (canaryTotal + controlTotal)
      const base = ratio * w + 1 - w
      for (let k = 0; k < gains.length; k++) {
        // ln((1−θk)/(1−θ0)) = −ln(spread) and ln(θk/θ0) = ln rk − ln(spread)
        const spread = Math.log((grid[k]! * ratio * w + 1 - w) / base)
        gains[k] = canaryEvents * (logGrid[k]! - spread) - controlEvents * spread
      }
      process.add(gains)
    },
  }
}

/** Whether the counts of a tick are valid: finite, not negative, and no more events than requests. */
export function isRateTick(tick: RateTick): boolean {
  const { canaryTotal, controlTotal, canaryEvents, controlEvents } = tick
  return (
    [canaryTotal, controlTotal, canaryEvents, controlEvents].every((n) => Number.isFinite(n) && n >= 0) &&
    canaryEvents <= canaryTotal &&
    controlEvents <= controlTotal
  )
}
