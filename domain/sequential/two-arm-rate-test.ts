/**
 * K1, the two-arm rate test: is the canary's rate of bad events above `ratio` times the control's? It may be
 * looked at after every tick without ever raising its false-alarm probability, and it uses the share each tick
 * really had: with the configured share, a drifting router alone rolls back good releases.
 *
 * Given the bad events of a tick, the canary's part is binomial with θ0 = r0·w/(r0·w + 1 − w) at the edge of
 * the null hypothesis, w = nC/(nC+nB); each bet takes a worse ratio r_k in its place.
 */

import { eProcess, ratioGrid } from './e-process.ts'

export interface RateTick {
  canaryTotal: number
  controlTotal: number
  canaryEvents: number
  controlEvents: number
}

export interface RateTestOptions {
  /** The ratio r0 that is still tolerated; 1 means "no worse". */
  ratio?: number
  /** The ratios bet on, relative to r0. Reciprocals test the other side: H0 "the ratio is at least r0". */
  grid?: readonly number[]
  /** The weight w_1 of the first start, 1/2 when absent. */
  firstMass?: number
}

export interface RateTest {
  /** Takes one tick in; a tick with an empty arm says nothing and is skipped. */
  add(tick: RateTick): void
  restart(): void
  logE(): number
  plainLogE(): number
}

export function rateTest(options: RateTestOptions = {}): RateTest {
  const { ratio = 1, grid = ratioGrid, firstMass } = options
  const process = eProcess(grid.length, firstMass)
  const logGrid = grid.map(Math.log)
  const gains = new Float64Array(grid.length)
  return {
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
    restart: process.restart,
    logE: process.logE,
    plainLogE: process.plainLogE,
  }
}

/** Whether a tick can be counted at all. */
export function isRateTick(tick: RateTick): boolean {
  const { canaryTotal, controlTotal, canaryEvents, controlEvents } = tick
  return (
    [canaryTotal, controlTotal, canaryEvents, controlEvents].every((n) => Number.isFinite(n) && n >= 0) &&
    canaryEvents <= canaryTotal &&
    controlEvents <= controlTotal
  )
}
