/** Generates the traffic of a simulated release: requests, shares and failures of each arm, under a scenario. */
import type { ArmCounts, CanaryTick } from '../canary/evidence.ts'
import { normalCdf, normalQuantile } from '../statistics/distributions.ts'
import { seededRandom } from '../statistics/random.ts'
import { binomial, multinomial, poisson, type Uniform } from '../statistics/random-variates.ts'
import { answerShares, otherShares, maturingPairs, type DiscordantPairs } from './recorded-answers.ts'
import { worldAt, wrongShare, type SimulatedWorld, type TrafficScenario } from './scenario.ts'

export interface SimulatedTraffic {
  /** The counters of the tick that starts now; undefined when the counters have stopped. */
  tick(startMs: number, shareBp: number): CanaryTick | undefined
  /** The discordant pairs whose outcomes are due: b against the canary, c for it. */
  paired(nowMs: number): DiscordantPairs
}

const hourMs = 3_600_000
const stormRequests = 500
/** Late enough that the evidence so far favours the canary. */
const stormAtMs = 600_000
/** How many times the configured share a drifting router sends to the canary. */
const routerDrift = 1.6
const none: ArmCounts = { requests: 0, errors: 0, invalid: 0, slow95: 0, slow99: 0 }

/** The traffic of one release under a scenario, drawn from `uniform`. Times count from the start of the canary. */
export function trafficOf(
  scenario: TrafficScenario,
  world: SimulatedWorld,
  given: Uniform,
): SimulatedTraffic {
  const { uniform, ofAnswers } = separateAnswers(given)
  const pairs = maturingPairs(world.labels)
  const champions = slownessOf(1)
  const canarys = scenario.kind === 'latency' ? slownessOf(scenario.factor) : champions
  const addStorm = scenario.kind === 'storm' ? createStorm(scenario.users, world.tickMs, uniform) : undefined
  const shares = answerShares(world, {
    shift: scenario.kind === 'shift' ? scenario.by : 0,
    factor: scenario.kind === 'scale' ? scenario.factor : undefined,
  })
  const others = otherShares(world.answers)
  /** The answers to the requests that did not fail, each from another user. */
  const answer = (arm: ArmCounts, first: readonly number[]): void => {
    arm.keys = arm.requests
    arm.answers = [first, ...others].flatMap((each) =>
      multinomial(ofAnswers(), arm.requests - arm.errors - arm.invalid, each),
    )
  }

  return {
    tick(startMs, shareBp) {
      if (scenario.kind === 'stale' && startMs >= scenario.fromMs) return undefined
      const rates = worldAt(world, startMs)
      const total = scenario.kind === 'no-traffic' ? 0 : poisson(uniform, rates.requests)
      const drift = scenario.kind === 'router-drift' ? routerDrift : 1
      const canaryRequests = binomial(uniform, total, Math.min(1, (shareBp / 10_000) * drift))
      const isBroken = scenario.kind === 'error' && startMs >= scenario.fromMs
      const canaryRates = isBroken ? { ...rates, errorRate: scenario.rate } : rates
      const canary = drawArm(uniform, canaryRequests, canaryRates, canarys)
      answer(canary, shares.canary)
      addStorm?.(canary, startMs)
      pairs.add(
        startMs,
        drawPairs(uniform, scenario, world, { startMs, judged: canaryRequests * pairs.coverage }),
      )
      if (scenario.kind === 'control-gone') return { startMs, shareBp, canary, control: none }
      const control = drawArm(uniform, total - canaryRequests, rates, champions)
      answer(control, shares.champion)
      return { startMs, shareBp, canary, control }
    },
    paired: (nowMs) => pairs.known(nowMs),
  }
}

/** Gives answers random numbers of their own, so that a policy that ignores answers gets the same traffic. */
function separateAnswers(given: Uniform): { uniform: Uniform; ofAnswers: () => Uniform } {
  let first: number | undefined
  let answering: Uniform | undefined
  return {
    uniform() {
      const drawn = given()
      first ??= drawn
      return drawn
    },
    ofAnswers: () => (answering ??= seededRandom(Math.floor((first ?? 0) * 2 ** 32))),
  }
}

/** The shares of slow requests: above the champion's 95th percentile, and of those above its 99th. */
interface Slowness {
  share95: number
  nested: number
}

/** The standard deviation of log latency: a factor of 1.5 then makes one request in five slower than the old 95th percentile. */
const logLatencySpread = 0.5

function slownessOf(factor: number): Slowness {
  const above = (quantile: number): number =>
    1 - (normalCdf((normalQuantile(quantile) ?? 0) - Math.log(factor) / logLatencySpread) ?? 0)
  const share95 = above(0.95)
  return { share95, nested: above(0.99) / share95 }
}

function drawArm(
  uniform: Uniform,
  requests: number,
  { errorRate, invalidRate }: { errorRate: number; invalidRate: number },
  { share95, nested }: Slowness,
): ArmCounts {
  const errors = binomial(uniform, requests, errorRate)
  const slow95 = binomial(uniform, requests, share95)
  return {
    requests,
    errors,
    invalid: binomial(uniform, requests - errors, invalidRate),
    slow95,
    slow99: binomial(uniform, slow95, nested),
  }
}

/** Adds the failing requests of a few users to the canary, for a minute. A routing key fails at most once, as in serving. */
function createStorm(users: number, tickMs: number, uniform: Uniform) {
  const failed = new Set<number>()
  return (canary: ArmCounts, startMs: number): void => {
    if (startMs < stormAtMs || startMs >= stormAtMs + 60_000) return
    const requests = Math.ceil((stormRequests * tickMs) / 60_000)
    canary.requests += requests
    for (let i = 0; i < requests; i++) {
      const user = Math.floor(uniform() * users)
      if (failed.has(user)) continue
      failed.add(user)
      canary.errors++
      canary.keys!++
    }
  }
}

/** Draws the requests of the canary that exactly one version predicts correctly. */
function drawPairs(
  uniform: Uniform,
  scenario: TrafficScenario,
  { labels }: SimulatedWorld,
  { startMs, judged }: { startMs: number; judged: number },
): DiscordantPairs {
  const shifted = scenario.kind === 'label-shift' && startMs >= 6 * hourMs ? 2 : 1
  const disagreeing = judged * 0.02 * shifted
  const drawn = { b: poisson(uniform, disagreeing), c: poisson(uniform, disagreeing) }
  const wrong = wrongShare(scenario, startMs, labels)
  if (wrong > 0) drawn.b += poisson(uniform, judged * wrong)
  return drawn
}
