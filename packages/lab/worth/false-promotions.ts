/**
 * Simulates how often the gate judges a challenger that is no better as `better` with certainty: the price of letting such a verdict
 * outweigh the anchor and the calibration.
 */
import { gains } from '../../../domain/evaluation/metric-table.ts'
import { score } from '../../../domain/evaluation/metrics.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import { auc, seededRandom, standardNormal } from '@tenure/sequential'

export interface FalsePromotions {
  /** The true difference of AUC to the champion. */
  delta: number
  runs: number
  /** Number of verdicts `better` by AUC, and by the Brier score. */
  byAuc: number
  byBrier: number
}

const rows = 3_000
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))
/** The noise of the log odds of the champion, and of challengers that are equally good and worse. */
const championNoise = 0.8
const noises = [0.8, 0.88, 0.96]

export function simulateFalsePromotions(runs: number): FalsePromotions[] {
  const policy = { ...defaultGatePolicy('binary'), resamples: 400 }
  const uniform = seededRandom(11)
  const normal = () => standardNormal(uniform)
  const world = (size: number) => {
    const odds = Array.from({ length: size }, () => -1 + 1.5 * normal())
    const y = odds.map((odd) => Number(uniform() < sigmoid(odd)))
    return { y, model: (noise: number) => odds.map((odd) => [sigmoid(odd + noise * normal())]) }
  }
  const large = world(400_000)
  const trueAuc = (noise: number) => auc(large.y, large.model(noise).flat()) ?? NaN
  const best = trueAuc(championNoise)
  return noises.map((noise) => {
    let [byAuc, byBrier] = [0, 0]
    for (let run = 0; run < runs; run++) {
      const { y, model } = world(rows)
      const [challenger, reference] = [model(noise), model(championNoise)].map((answers) =>
        score('binary', y, answers, policy),
      )
      const pair = { challenger: challenger!, reference: reference! }
      const [one, other] = gains(
        [
          { metric: 'auc', ...pair },
          { metric: 'brier', ...pair },
        ],
        policy,
      )
      if ((one?.low ?? -1) > 0) byAuc++
      if ((other?.low ?? -1) > 0) byBrier++
    }
    return { delta: noise === championNoise ? 0 : trueAuc(noise) - best, runs, byAuc, byBrier }
  })
}
