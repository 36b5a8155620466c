/**
 * Monitors an A/B test of a checkout page day by day and stops it as soon as the result is proven: `node --import tsx examples/ab-test.ts`.
 * The days are simulated with a fixed seed: 5 % of the control's users buy, and 6 % of the treatment's.
 */
import {
  binomial,
  geometric,
  ratioSequence,
  seededRandom,
  splitAlpha,
  srmEvidence,
  thresholdFor,
  twoArmRateTest,
  type RateTick,
} from '@tenure/sequential'

// One error of 5 % for everything that may stop the test.
const alpha = splitAlpha(0.05, { better: 2, worse: 2, mismatch: 1 })
// Lifts that matter: from 2 % to 100 %.
const grid = geometric(1.02, 2, 16)
const better = twoArmRateTest({ grid })
const worse = twoArmRateTest({ grid: grid.map((ratio) => 1 / ratio) })

const random = seededRandom(11)
const days: RateTick[] = []
const users = { treatment: 0, control: 0 }
const percent = (value: number) => `${(100 * value).toFixed(1)} %`

for (let day = 1; day <= 28; day++) {
  const visitors = 3_000
  const treatmentTotal = binomial(random, visitors, 0.5)
  const controlTotal = visitors - treatmentTotal
  const today: RateTick = {
    treatmentTotal,
    controlTotal,
    treatmentEvents: binomial(random, treatmentTotal, 0.06),
    controlEvents: binomial(random, controlTotal, 0.05),
  }
  days.push(today)
  users.treatment += treatmentTotal
  users.control += controlTotal
  better.add(today)
  worse.add(today)

  const mismatch = srmEvidence(users.treatment, users.control, 0.5) ?? 0
  const { low, high } = ratioSequence(days, {
    lowLogE: thresholdFor(alpha.better),
    highLogE: thresholdFor(alpha.worse),
    grid,
  }).at(-1)!
  console.log(
    `day ${String(day).padStart(2)}: evidence for better ${better.plainLogE().toFixed(1)}, for worse ${worse.plainLogE().toFixed(1)}; ` +
      `ratio of the rates between ${low.toFixed(2)} and ${high.toFixed(2)}`,
  )
  const verdict =
    mismatch >= thresholdFor(alpha.mismatch)
      ? `the treatment gets ${percent(users.treatment / (users.treatment + users.control))} of the users, not 50 %: mend the router`
      : better.plainLogE() >= thresholdFor(alpha.better)
        ? 'the treatment is better: ship it'
        : worse.plainLogE() >= thresholdFor(alpha.worse)
          ? 'the treatment is worse: stop it'
          : undefined
  if (verdict !== undefined) {
    console.log(`day ${day}: ${verdict}`)
    break
  }
}
