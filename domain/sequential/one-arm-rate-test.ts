/**
 * Tests the absolute guard: whether the canary's failure rate is above `limit`, without control traffic. It also runs as the
 * circuit breaker in the serving process, and fires after three requests when all of them fail.
 */
import { eProcess, ratioGrid, type EProcess } from './e-process.ts'

export interface GuardTest extends Omit<EProcess, 'add'> {
  add(total: number, events: number): void
}

/** `limit` is the tolerated rate p0, between 0 and 0.95. Reciprocal `grid` values test "the rate is at least p0". */
export function guardTest(limit: number, grid: readonly number[] = ratioGrid): GuardTest {
  const process = eProcess(grid.length)
  const gainsOf = guardGains(limit, grid)
  return { ...process, add: (total, events) => process.add(gainsOf(total, events)) }
}

/** The log evidence of counts that the rate is `ratio` times the limit, for each ratio of the grid; overwritten by the next call. */
export function guardGains(
  limit: number,
  grid: readonly number[] = ratioGrid,
): (total: number, events: number) => Float64Array {
  const gains = new Float64Array(grid.length)
  const bad = grid.map((ratio) => Math.log(Math.min(0.95, limit * ratio) / limit))
  const good = grid.map((ratio) => Math.log((1 - Math.min(0.95, limit * ratio)) / (1 - limit)))
  return (total, events) => {
    for (let k = 0; k < gains.length; k++) gains[k] = events * bad[k]! + (total - events) * good[k]!
    return gains
  }
}
