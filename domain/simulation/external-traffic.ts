/** Generates what other systems measure of a simulated release: the share of requests with an event, such as complaints, in each window. */
import { externalTest, type ExternalEvidence } from '../canary/external/external-metric.ts'
import type { CanaryPolicy } from '../canary/policy.ts'
import type { ArmCounts, CanaryTick } from '../canary/evidence.ts'
import { seededRandom } from '../statistics/random.ts'
import { binomial, type Uniform } from '../statistics/random-variates.ts'
import type { TrafficScenario } from './scenario.ts'

/** The position of the control between `min` and `max`; for a metric with a limit, half of the allowed range. */
const controlPlace = 0.25
/** The daily variation that both arms share. */
const swing = 0.5
const dayMs = 86_400_000

export interface ExternalTraffic {
  /** A tick that ends at `atMs`. */
  add(tick: Pick<CanaryTick, 'startMs' | 'canary' | 'control'>, atMs: number): void
  evidence(): ExternalEvidence
}

/** Events have their own random numbers, so that a policy without external metrics gets the same requests. */
export function externalTraffic(
  { external = {}, restartMs }: Pick<CanaryPolicy, 'external' | 'restartMs'>,
  scenario: TrafficScenario,
  given: Uniform,
): ExternalTraffic {
  const uniform = seededRandom(Math.floor(given() * 2 ** 32))
  const by = scenario.kind === 'measured' ? scenario.by : 0
  const isAway = scenario.kind === 'source-away'
  const simulated = Object.entries(external).map(([name, metric]) => {
    const { min, max, limit, lowerIsBetter } = metric
    const usual = min + controlPlace * (max - min)
    return {
      name,
      metric,
      test: externalTest(metric, restartMs),
      control: limit === undefined ? usual : lowerIsBetter ? (min + limit) / 2 : (max + limit) / 2,
      factor: lowerIsBetter ? 1 + by : 1 / (1 + by),
      window: undefined as { fromMs: number; canary: Measured; control: Measured } | undefined,
    }
  })
  return {
    add({ startMs, canary, control }, atMs) {
      const day = 1 + swing * Math.sin((2 * Math.PI * atMs) / dayMs)
      for (const each of simulated) {
        const { min, max, everyMs, minRequests, limit } = each.metric
        each.window ??= { fromMs: startMs, canary: measured(), control: measured() }
        const { window } = each
        const add = (arm: Measured, { requests }: ArmCounts, mean: number): void => {
          // A share of the range, chosen so that the mean of the arm is `mean`.
          const share = Math.min(1, Math.max(0, (mean - min) / (max - min)))
          arm.requests += requests
          arm.sum += requests * min + binomial(uniform, requests, share) * (max - min)
        }
        const base = limit === undefined ? each.control * day : each.control
        add(window.control, control, base)
        add(window.canary, canary, base * each.factor)
        if (atMs - window.fromMs < everyMs) continue
        each.window = undefined
        const isServed = window.canary.requests >= minRequests && window.control.requests >= minRequests
        if (isServed)
          each.test.add(
            isAway
              ? { fromMs: window.fromMs, canary: null, control: null, problem: 'no connection' }
              : { fromMs: window.fromMs, canary: meanOf(window.canary), control: meanOf(window.control) },
          )
      }
    },
    evidence: () => Object.fromEntries(simulated.map(({ name, test }) => [name, test.figures(0)])),
  }
}

interface Measured {
  requests: number
  sum: number
}
const measured = (): Measured => ({ requests: 0, sum: 0 })
const meanOf = ({ requests, sum }: Measured): number => sum / requests
