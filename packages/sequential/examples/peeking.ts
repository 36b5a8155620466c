/**
 * Simulates A/B tests that are looked at every day: `node --import tsx examples/peeking.ts [tests]`. Compares the anytime-valid test of two
 * rates with a z-test of 5 %, looked at each day or once at the end: how often each sees a difference that does not exist, and one that
 * does.
 */
import {
  binomial,
  geometric,
  normalTwoSided,
  seededRandom,
  thresholdFor,
  twoArmRateTest,
  type RateTick,
} from '@tenure/sequential'

const alpha = 0.05
const days = 28
const usersADay = 2_000
const controlRate = 0.05
const grid = geometric(1.02, 2, 16)
const tests = Number(process.argv[2] ?? 2_000)

/** The two-sided p-value of the pooled z-test of two proportions. */
function zTest({ treatmentTotal, controlTotal, treatmentEvents, controlEvents }: RateTick): number {
  const pooled = (treatmentEvents + controlEvents) / (treatmentTotal + controlTotal)
  const error = Math.sqrt(pooled * (1 - pooled) * (1 / treatmentTotal + 1 / controlTotal))
  return normalTwoSided((treatmentEvents / treatmentTotal - controlEvents / controlTotal) / error) ?? 1
}

/** The first day on which each procedure sees a difference; undefined for none. */
function runTest(random: () => number, treatmentRate: number) {
  const [higher, lower] = [twoArmRateTest({ grid }), twoArmRateTest({ grid: grid.map((ratio) => 1 / ratio) })]
  const total: RateTick = { treatmentTotal: 0, controlTotal: 0, treatmentEvents: 0, controlEvents: 0 }
  const found: { anytime?: number; peeked?: number; once?: number } = {}
  for (let day = 1; day <= days; day++) {
    const today: RateTick = {
      treatmentTotal: usersADay,
      controlTotal: usersADay,
      treatmentEvents: binomial(random, usersADay, treatmentRate),
      controlEvents: binomial(random, usersADay, controlRate),
    }
    for (const name of Object.keys(total) as (keyof RateTick)[]) total[name] += today[name]
    higher.add(today)
    lower.add(today)
    if (Math.max(higher.plainLogE(), lower.plainLogE()) >= thresholdFor(alpha / 2)) found.anytime ??= day
    if (zTest(total) < alpha) {
      found.peeked ??= day
      if (day === days) found.once = day
    }
  }
  return found
}

const random = seededRandom(1)
const names = {
  anytime: 'anytime-valid, each day',
  peeked: 'z-test, each day',
  once: 'z-test, on day 28 only',
}
console.log(
  `${tests} tests of ${days} days, ${usersADay} users an arm and day, ${100 * controlRate} % convert`,
)
for (const lift of [0, 0.05, 0.1, 0.2]) {
  const results = Array.from({ length: tests }, () => runTest(random, controlRate * (1 + lift)))
  for (const [name, text] of Object.entries(names) as [keyof typeof names, string][]) {
    const found = results.flatMap((each) => each[name] ?? []).toSorted((one, other) => one - other)
    const middle = found.length === 0 ? '' : `, median day ${found[Math.floor(found.length / 2)]}`
    const label = lift === 0 ? 'no difference' : `+${Math.round(100 * lift)} %`
    console.log(
      `${label.padEnd(13)} ${text.padEnd(23)} stops ${((100 * found.length) / tests).toFixed(1)} %${middle}`,
    )
  }
}
