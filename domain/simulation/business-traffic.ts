/** Generates what the users of a simulated release do after their first request. Each request comes from another user. */
import { businessTest, type BusinessEvidence, type BusinessTest } from '../canary/business-metric.ts'
import type { BusinessMetric } from '../canary/business-policy.ts'
import type { CanaryTick } from '../canary/evidence.ts'
import { seededRandom } from '../statistics/random.ts'
import { standardNormal, type Uniform } from '../statistics/random-variates.ts'
import type { TrafficScenario } from './scenario.ts'

/** The share of the champion's users with an event. */
const buyingShare = 0.05
/** A purchase is log-normal around a tenth of `max`; about one in a hundred is clipped at `max`. */
const medianPurchase = 0.1
const logPurchaseSpread = 1

type Stage = Parameters<BusinessTest['add']>[2]

export interface BusinessTraffic {
  /** Adds the users of a tick that ends at `atMs`. */
  add(tick: Pick<CanaryTick, 'canary' | 'control'>, stage: Stage, atMs: number): void
  /** The evidence of the users whose events are due. */
  evidence(nowMs: number): BusinessEvidence
}

/** One tick of a metric; the value is NaN for a user without an event when the metric is a mean. */
interface DueUsers {
  dueMs: number
  stage: Stage
  values: Record<'control' | 'canary', Float64Array>
}

/** Users have their own random numbers, so that a policy without business metrics gets the same requests. */
export function businessTraffic(
  metrics: Readonly<Record<string, BusinessMetric>>,
  scenario: TrafficScenario,
  given: Uniform,
): BusinessTraffic {
  const uniform = seededRandom(Math.floor(given() * 2 ** 32))
  const by = scenario.kind === 'earns' ? scenario.by : 0
  const simulated = Object.entries(metrics).map(([name, metric]) => ({
    name,
    metric,
    test: businessTest(metric),
    // Multiplies the share of users with an event, or the value of a mean.
    factor: metric.lowerIsBetter ? 1 / (1 + by) : 1 + by,
    waiting: [] as DueUsers[],
    taken: 0,
  }))
  return {
    add({ canary, control }, stage, atMs) {
      for (const { metric, factor, waiting } of simulated)
        waiting.push({
          dueMs: atMs + metric.withinMs + metric.delayMs,
          stage,
          values: {
            control: valuesOf(metric, control.requests, 1, uniform),
            canary: valuesOf(metric, canary.requests, factor, uniform),
          },
        })
    },
    evidence(nowMs) {
      for (const each of simulated)
        for (; each.taken < each.waiting.length; each.taken++) {
          const { dueMs, stage, values } = each.waiting[each.taken]!
          if (dueMs > nowMs) break
          for (const arm of ['control', 'canary'] as const)
            for (const value of values[arm]) each.test.add(arm, value, stage)
          values.control = values.canary = new Float64Array(0)
        }
      return Object.fromEntries(simulated.map(({ name, test }) => [name, test.figures()]))
    },
  }
}

function valuesOf(metric: BusinessMetric, users: number, factor: number, uniform: Uniform): Float64Array {
  const { counts, min, max } = metric
  const values = new Float64Array(users)
  if (counts === 'mean') values.fill(NaN)
  const share = Math.min(1, buyingShare * (counts === 'mean' ? 1 : factor))
  // The gaps between users with an event are geometrically distributed.
  const gap = () => (share === 1 ? 1 : 1 + Math.floor(Math.log(1 - uniform()) / Math.log1p(-share)))
  for (let user = gap() - 1; user < users; user += gap()) {
    if (counts === 'any') values[user] = 1
    else if (counts === 'mean') values[user] = min + (max - min) * Math.min(1, uniform() * factor)
    else values[user] = max * medianPurchase * Math.exp(logPurchaseSpread * standardNormal(uniform))
  }
  return values
}
