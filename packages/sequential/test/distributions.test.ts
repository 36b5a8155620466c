import { describe, expect, it } from 'vitest'
import { bootstrap, ownersOf, percentileInterval, pointValue, type Statistic } from '../src/bootstrap.ts'
import { midranks, orderOf } from '../src/auc.ts'
import { mcnemar, mcnemarP } from '../src/mcnemar.ts'
import { seededRandom } from '../src/random.ts'
import {
  betaCdf,
  betaQuantile,
  binomialCdf,
  binomialPmf,
  chiSquareUpperTail,
  logAddExp,
  logGamma,
  logMeanExp,
  normalCdf,
  normalQuantile,
  normalTwoSided,
  sumOf,
  studentTwoSided,
  studentTwoSidedQuantile,
} from '../src/distributions.ts'

describe('distribution functions (SciPy 1.17.1)', () => {
  it.each([
    ['betaQuantile(0.95, 0.5, 50.5)', betaQuantile(0.95, 0.5, 50.5), 0.03750113514003708],
    ['betaQuantile(0.5, 100_000, 1_000_000)', betaQuantile(0.5, 100_000, 1_000_000), 0.09090884297522464],
    ['betaQuantile(0.001, 20, 3)', betaQuantile(0.001, 20, 3), 0.584937194691392],
    ['betaCdf(0.3, 2, 5)', betaCdf(0.3, 2, 5), 0.5798250000000003],
    ['betaCdf(0.0909, 100_000, 1_000_000)', betaCdf(0.0909, 100_000, 1_000_000), 0.4871312796667137],
    ['binomialCdf(12, 37, 0.5)', binomialCdf(12, 37, 0.5), 0.02351551371975802],
    ['binomialCdf(9_900, 20_000, 0.5)', binomialCdf(9_900, 20_000, 0.5), 0.07969171799236709],
    ['binomialPmf(12, 37, 0.5)', binomialPmf(12, 37, 0.5), 0.013478587759891528],
    ['chiSquareUpperTail(6.3, 4)', chiSquareUpperTail(6.3, 4), 0.1778363264982168],
    ['chiSquareUpperTail(120, 100)', chiSquareUpperTail(120, 100), 0.08440668109369177],
    ['normalCdf(-1.3)', normalCdf(-1.3), 0.09680048458561036],
    ['normalQuantile(0.975)', normalQuantile(0.975), 1.959963984540054],
    ['logGamma(0.1)', logGamma(0.1), 2.252712651734206],
    ['logGamma(1e6)', logGamma(1e6), 12815504.569147611],
  ])('%s', (_, got, wanted) => {
    expect(Math.abs(got! - wanted)).toBeLessThanOrEqual(1e-10 * Math.max(1, Math.abs(wanted)))
  })

  // mpmath 1.4.1 with 50 digits; the quantiles and Student's tail are SciPy 1.17.1: norm.ppf, beta.ppf, 2·t.sf, binomtest.
  it.each([
    ['normalCdf(-1.75)', normalCdf(-1.75), 0.04005915686381709],
    ['normalCdf(-8)', normalCdf(-8), 6.220960574271784e-16],
    ['normalCdf(-37)', normalCdf(-37), 5.725571222524577e-300],
    ['normalTwoSided(0.5)', normalTwoSided(0.5), 0.6170750774519738],
    ['normalTwoSided(9)', normalTwoSided(9), 2.257176811907681e-19],
    ['normalTwoSided(-30)', normalTwoSided(-30), 9.813427854296374e-198],
    ['normalQuantile(1e-300)', normalQuantile(1e-300), -37.0470962993612],
    ['normalQuantile(1e-12)', normalQuantile(1e-12), -7.034483825301131],
    ['normalQuantile(0.3)', normalQuantile(0.3), -0.5244005127080409],
    ['normalQuantile(1 - 1e-12)', normalQuantile(0.999999999999), 7.0344869100478356],
    ['chiSquareUpperTail(80, 1)', chiSquareUpperTail(80, 1), 3.744097384202899e-19],
    ['chiSquareUpperTail(0.3, 1)', chiSquareUpperTail(0.3, 1), 0.5838824207703652],
    ['chiSquareUpperTail(900, 100)', chiSquareUpperTail(900, 100), 6.929916559119551e-129],
    ['chiSquareUpperTail(1_400, 2)', chiSquareUpperTail(1_400, 2), 9.85967654375977e-305],
    ['binomialCdf(2, 60, 0.5)', binomialCdf(2, 60, 0.5), 1.5881393422567669e-15],
    ['binomialCdf(9_000, 20_000, 0.5)', binomialCdf(9_000, 20_000, 0.5), 9.770413852914481e-46],
    ['binomialCdf(100, 1_000_000, 0.001)', binomialCdf(100, 1_000_000, 0.001), 4.0288797659339243e-293],
    ['betaQuantile(1e-3, 0.1, 5)', betaQuantile(1e-3, 0.1, 5), 1.3321008721895315e-31],
    ['betaQuantile(0.3, 0.01, 4)', betaQuantile(0.3, 0.01, 4), 8.295791544625626e-54],
    ['betaQuantile(0.05, 1e6, 3)', betaQuantile(0.05, 1e6, 3), 0.9999937042324923],
    ['studentTwoSided(40, 30)', studentTwoSided(40, 30), 1.3726045194406417e-27],
    ['mcnemar(200, 20)', mcnemar(200, 20).pExact, 1.567901728147051e-38],
  ])('%s has nine digits in the tail', (_, got, wanted) => {
    expect(Math.abs(got! / wanted - 1)).toBeLessThan(1e-9)
  })

  it.each([
    betaQuantile(0.5, 0, 1),
    betaQuantile(NaN, 1, 1),
    betaQuantile(1.1, 1, 1),
    betaCdf(NaN, 1, 1),
    betaCdf(0.5, -1, 1),
    binomialCdf(0.5, 2, 0.5),
    binomialCdf(1, 2, 1.5),
    binomialPmf(1, NaN, 0.5),
    chiSquareUpperTail(-1, 2),
    chiSquareUpperTail(1, 0),
    chiSquareUpperTail(NaN, 2),
    normalCdf(NaN),
    normalTwoSided(NaN),
    normalQuantile(0),
    normalQuantile(1),
  ])('are null where they are not defined (%#)', (value) => expect(value).toBeNull())

  it('reach their limits exactly', () => {
    expect([betaCdf(-1, 2, 2), betaCdf(2, 2, 2), betaQuantile(0, 2, 2), betaQuantile(1, 2, 2)]).toEqual([
      0, 1, 0, 1,
    ])
    expect([
      binomialCdf(-1, 5, 0.5),
      binomialCdf(5, 5, 0.5),
      binomialPmf(6, 5, 0.5),
      binomialPmf(0, 5, 0),
    ]).toEqual([0, 1, 0, 1])
  })
})

describe('sums', () => {
  it('of logs do not overflow', () => {
    expect(logMeanExp([1_000, 1_000])).toBe(1_000)
    expect(logMeanExp([])).toBe(0)
    expect(logMeanExp([-Infinity, -Infinity])).toBe(-Infinity)
    expect(logAddExp(-5_000, 0)).toBe(0)
    expect(logAddExp(-Infinity, -Infinity)).toBe(-Infinity)
  })

  it('do not lose small terms beside large ones', () => {
    expect(sumOf([1, 1e100, 1, -1e100])).toBe(2)
  })
})

describe('ranks', () => {
  it('are shared by ties', () => {
    expect([...midranks([3, 1, 3, 2])]).toEqual([3.5, 1, 3.5, 2])
    expect([...midranks([0, -0, 1])]).toEqual([1.5, 1.5, 3])
    expect([...midranks([])]).toEqual([])
  })

  it('sort, and keep the order of ties', () => {
    expect([...orderOf([3, 1, 3, 2, 1])]).toEqual([1, 4, 3, 0, 2])
  })

  it.each<[string, (random: () => number) => number]>([
    ['spread evenly', (random) => random()],
    ['of few different values', (random) => Math.floor(8 * random()) - 4],
    ['nearly all in one place', (random) => (random() < 0.01 ? 1e9 * random() : 1e-9 * random())],
    ['with infinite ones', (random) => (random() < 0.1 ? Infinity : random())],
    ['closer than doubles can divide', (random) => 5e-324 * Math.floor(3 * random())],
    ['further apart than doubles reach', (random) => (random() < 0.5 ? -1.7e308 : 1.7e308) * random()],
  ])('are those of a sort, of many values %s', (_, next) => {
    const random = seededRandom(3)
    const values = Array.from({ length: 400 }, () => next(random))
    const compare = (a: number, b: number) => (a < b ? -1 : a > b ? 1 : 0)
    const order = values.map((_, row) => row).sort((a, b) => compare(values[a]!, values[b]!) || a - b)
    expect([...orderOf(values)]).toEqual(order)
    const below = (value: number) => values.filter((other) => other < value).length
    const tied = (value: number) => values.filter((other) => other === value).length
    const ranks = Float64Array.from(values, (value) => below(value) + (tied(value) + 1) / 2)
    expect(midranks(values)).toEqual(ranks)
  })
})

it("Student's two-sided p has the values of SciPy", () => {
  // 2 * scipy.stats.t.sf(t, dof)
  expect(studentTwoSided(12.706204736432095, 1)).toBeCloseTo(0.05, 10)
  expect(studentTwoSided(-2.7764451051977987, 4)).toBeCloseTo(0.05, 10)
  expect(studentTwoSided(2, 4)).toBeCloseTo(0.11611652351681556, 10)
  expect(studentTwoSided(0, 3)).toBe(1)
})

it.each([
  [0.05, 1, 12.7062],
  [0.05, 10, 2.22814],
  [0.001, 30, 3.64596],
  [0.05, 1e7, 1.95996],
])("Student's two-sided quantile at %f with %i degrees of freedom is that of the tables", (p, dof, t) => {
  const found = studentTwoSidedQuantile(p, dof)!
  expect(found).toBeCloseTo(t, 4)
  expect(studentTwoSided(found, dof)).toBeCloseTo(p, 10)
})

describe("McNemar's p", () => {
  it('is exact below 25 disagreements and chi-square from there on', () => {
    expect(mcnemarP(10, 2)).toBeCloseTo(0.03857421875, 12)
    expect(mcnemarP(25, 12)).toBeCloseTo(0.04851973828025081, 10)
    expect(mcnemarP(0, 0)).toBe(1)
    expect(mcnemarP(-1, 2)).toBeNull()
  })
})

describe('the bootstrap', () => {
  const uniform = seededRandom(2)
  const values = Float64Array.from({ length: 400 }, () => uniform())
  const mean: Statistic = { kind: 'sums', columns: [values], value: (sums, weight) => sums[0]! / weight }
  const weighted: Statistic = {
    kind: 'weights',
    value: (weights) => {
      const all = Array.from(weights)
      return (
        all.reduce((sum, weight, i) => sum + weight * values[i]!, 0) /
        all.reduce((sum, weight) => sum + weight, 0)
      )
    },
  }

  it('of a mean has the width of its standard error', () => {
    const drawn = bootstrap([mean], 400, { resamples: 2_000, seed: 1 })[0]!
    const { low, high, oneSidedLow } = percentileInterval(drawn, 2_000, 0.95)
    const m = pointValue(mean, 400)!
    const error = Math.sqrt(values.reduce((sum, value) => sum + (value - m) ** 2, 0)) / 400
    expect((high! - low!) / (2 * 1.96 * error)).toBeGreaterThan(0.93)
    expect((high! - low!) / (2 * 1.96 * error)).toBeLessThan(1.07)
    expect(oneSidedLow).toBeGreaterThan(low!)
    expect(oneSidedLow).toBeLessThan(m)
  })

  it('is reproducible by its seed, and differs with another', () => {
    const draw = (seed: number) => [...bootstrap([mean], 400, { resamples: 5, seed })[0]!]
    expect(draw(1)).toEqual(draw(1))
    expect(draw(1)).not.toEqual(draw(2))
  })

  it('weighs rows alike for sums and for weights, with and without entities', () => {
    const entities = Array.from(values, (_, i) => i % 37)
    for (const options of [{}, { entities }]) {
      const [a, b] = bootstrap([mean, weighted], 400, { resamples: 20, seed: 3, ...options })
      a!.forEach((value, i) => expect(value).toBeCloseTo(b![i]!, 12))
    }
    expect([...ownersOf(['x', 'y', 'x'])]).toEqual([0, 1, 0])
  })

  it('of counts is drawn by kind of row, with the same spread', () => {
    const hits = values.map((value) => (value < 0.3 ? 1 : 0))
    const share: Statistic = { kind: 'sums', columns: [hits], value: (sums, weight) => sums[0]! / weight }
    // A column of distinct numbers makes each row its own kind, so rows are drawn one by one.
    const rowwise = bootstrap([share, mean], 400, { resamples: 2_000, seed: 4 })[0]!
    const kinds = bootstrap([share], 400, { resamples: 2_000, seed: 4 })[0]!
    const p = pointValue(share, 400)!
    for (const drawn of [rowwise, kinds]) {
      const m = drawn.reduce((sum, value) => sum + value, 0) / 2_000
      const spread = Math.sqrt(drawn.reduce((sum, value) => sum + (value - m) ** 2, 0) / 2_000)
      expect(Math.abs(m - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / 400 / 2_000))
      expect(Math.abs(spread / Math.sqrt((p * (1 - p)) / 400) - 1)).toBeLessThan(0.07)
    }
  })

  it('has no interval when the statistic is mostly undefined, or without rows', () => {
    const fickle: Statistic = {
      kind: 'sums',
      columns: [values],
      value: (sums) => (sums[0]! > 205 ? 1 : null),
    }
    const drawn = bootstrap([fickle], 400, { resamples: 200, seed: 1 })[0]!
    expect(percentileInterval(drawn, 200, 0.95)).toEqual({ low: null, high: null, oneSidedLow: null })
    expect(bootstrap([mean], 0, { resamples: 10, seed: 1 })[0]).toHaveLength(0)
    expect(pointValue(mean, 0)).toBeNull()
  })
})
