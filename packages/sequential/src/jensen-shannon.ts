/**
 * Computes the Jensen–Shannon divergence (not its square root) between two rows of counts: symmetric, defined for empty bins, and
 * in [0, 1] to base 2.
 */
import { areCounts } from './chi-square.ts'
import { sumOf } from './distributions.ts'

/**
 * (KL(p‖m) + KL(q‖m))/2 with m = (p + q)/2, in units of log `base` (Lin, IEEE Transactions on Information Theory, 1991).
 * @param p counts a bin; @param q counts of the same bins
 * @returns null if a side has no data, if the lengths differ, and for a base of 1, 0 or less
 */
export function jensenShannon(p: readonly number[], q: readonly number[], base = 2): number | null {
  if (!areCounts(p, q) || !(base > 0 && base !== 1 && base < Infinity)) return null
  const [n, m] = [sumOf(p), sumOf(q)]
  if (n === 0 || m === 0) return null
  const term = (x: number, middle: number) => (x > 0 ? x * Math.log(x / middle) : 0)
  const sum = sumOf(
    p.map((count, k) => {
      const [a, b] = [count / n, q[k]! / m]
      const middle = (a + b) / 2
      return (term(a, middle) + term(b, middle)) / 2
    }),
  )
  return Math.max(0, sum) / Math.log(base)
}
