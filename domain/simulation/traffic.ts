/** Generates the traffic of a simulated release: requests, shares and failures of each arm, under a scenario. */
import type { ArmCounts, CanaryTick } from '../canary/evidence.ts'
import {
  binomial,
  countDifferences,
  multinomial,
  normalCdf,
  normalQuantile,
  poisson,
  seededRandom,
  standardNormal,
  sumOf,
  type Uniform,
} from '@tenure/sequential'
import { otherShares, maturingPairs, outcomeShare, type SimulatedPairs } from './recorded-answers.ts'
import type { ArmLosses, BlockSizes } from '../canary/holdback.ts'
import {
  answersOf,
  championRight,
  netLoss,
  pairShares,
  sliceShare,
  worldAt,
  type SimulatedWorld,
  type TrafficScenario,
} from './scenario.ts'
import { businessTest, type BusinessEvidence, type BusinessTest } from '../canary/business-metric.ts'
import type { BusinessMetric } from '../canary/business-policy.ts'
import { externalTest, type ExternalEvidence } from '../canary/external/external-metric.ts'
import type { CanaryPolicy } from '../canary/policy.ts'
import type { DisagreementEvidence } from '../canary/disagreement.ts'
import type { PredictedAnswers } from '../canary/predicted-answers.ts'

export interface SimulatedTraffic {
  /**
   * The counters of the tick that starts now; undefined when the counters have stopped. `pairedShare`: of the candidate's requests, those
   * that both versions answer.
   */
  tick(startMs: number, shareBp: number, pairedShare: number): CanaryTick | undefined
  /** The pairs whose outcomes are due: b against the canary, c for it. */
  paired(nowMs: number): SimulatedPairs
}

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
  const shares = answersOf(scenario, world)
  const others = otherShares(world.answers)
  /** The answers to the requests that did not fail, each from another user. */
  const answer = (arm: ArmCounts, first: readonly number[]): void => {
    arm.keys = arm.requests
    arm.answers = [first, ...others].flatMap((each) =>
      multinomial(ofAnswers(), arm.requests - arm.errors - arm.invalid, each),
    )
  }

  return {
    tick(startMs, shareBp, pairedShare) {
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
      // Also drawn where there are none, so that all policies get the same requests.
      const judged = binomial(uniform, canaryRequests, pairs.coverage * (pairedShare || 1))
      const { lost, won } = pairShares(scenario, startMs, world)
      const [b = 0, c = 0, same = 0] = multinomial(uniform, judged, [lost, won, 1 - lost - won])
      if (pairedShare > 0) pairs.add(startMs, { b, c, same })
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
    normalCdf(Math.log(factor) / logLatencySpread - (normalQuantile(quantile) ?? 0)) ?? 0
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

// Generates what the users of a simulated release do after their first request. Each request comes from another user.

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

// Generates what other systems measure of a simulated release: the share of requests with an event, such as complaints, in each window.

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

// Generates what the gate has seen of the answers of both versions: the same world as that of the release, on rows of its own.

const predictingBlocks = 10
const rowsOfBlock = 1_000

/**
 * The prediction of the gate for a candidate that has learnt to answer otherwise. Undefined for the others: of an equal candidate, or of one
 * whose fault does not show on test rows, the gate predicts the champion's answers.
 */
export function predictionOf(
  scenario: TrafficScenario,
  world: SimulatedWorld,
  given: Uniform,
): PredictedAnswers | undefined {
  if (scenario.kind !== 'better' && scenario.kind !== 'base-rate') return undefined
  const uniform = seededRandom(Math.floor(given() * 2 ** 32))
  const { champion, canary } = answersOf(scenario, world)
  const last = champion.length - 1
  // Answers move between the last one and the others alone.
  const moved = canary[last]! - champion[last]!
  const share = (bin: number) =>
    bin === last || champion[last] === 1 ? 0 : champion[bin]! / (1 - champion[last]!)
  const cells = champion.flatMap((held, bin) => [
    { champion: bin, candidate: bin, share: Math.min(held, canary[bin]!) },
    ...(bin === last
      ? []
      : moved > 0
        ? [{ champion: bin, candidate: last, share: moved * share(bin) }]
        : [{ champion: last, candidate: bin, share: -moved * share(bin) }]),
  ])
  const counts = cells.map(() => 0)
  const logRatios = champion.map((): number[] => [])
  for (let block = 0; block < predictingBlocks; block++) {
    const drawn = multinomial(
      uniform,
      rowsOfBlock,
      cells.map((cell) => cell.share),
    )
    drawn.forEach((rows, i) => (counts[i]! += rows))
    const rowsOf = (version: 'champion' | 'candidate', bin: number) =>
      drawn.reduce((sum, rows, i) => sum + (cells[i]![version] === bin ? rows : 0), 0)
    for (const [bin, ratios] of logRatios.entries())
      ratios.push(Math.log((rowsOf('candidate', bin) + 0.5) / (rowsOf('champion', bin) + 0.5)))
  }
  const sdOf = (values: readonly number[]) => {
    const mean = sumOf(values) / values.length
    return Math.sqrt(sumOf(values.map((value) => (value - mean) ** 2)) / (values.length - 1))
  }
  const { lost, won } = pairShares(scenario, 0, world)
  const names = world.answers?.names ?? champion.map((_, bin) => `${bin}`)
  // A release does not read which version was right on its test rows.
  const right = { championRight: 0, candidateRight: 0 }
  return {
    names,
    rows: predictingBlocks * rowsOfBlock,
    cells: cells.map(({ champion: from, candidate }, i) => ({
      champion: from,
      candidate,
      rows: counts[i]!,
      ...right,
    })),
    sd: logRatios.map(sdOf),
    distances: [{ name: 'all requests', mean: lost + won, sd: 0 }],
    blocks: { count: predictingBlocks, of: 'rows' },
  }
}

// Generates the answers of both versions in a simulated shadow: which decisions differ, over all requests and in a slice.

/** As many as the judge of a release reads. */
const maxPairs = 100_000

export interface ShadowPairs {
  /** Adds the requests of a tick, each from another user. */
  add(requests: number, atMs: number): void
  /** Undefined before the first pair. */
  evidence(): DisagreementEvidence | undefined
}

const differing: readonly TrafficScenario['kind'][] = [
  'worse',
  'better',
  'base-rate',
  'slice',
  'stale-feature',
]

/** Undefined for scenarios in which no more decisions differ than those of equal versions, which no policy asks about. */
export function shadowPairs(
  scenario: TrafficScenario,
  world: Pick<SimulatedWorld, 'labels'>,
  given: Uniform,
): ShadowPairs | undefined {
  if (!differing.includes(scenario.kind)) return undefined
  const uniform = seededRandom(Math.floor(given() * 2 ** 32))
  const name = scenario.kind === 'slice' ? scenario.name : undefined
  const parts = { slice: [0, 0], rest: [0, 0] }
  const add = (part: number[], requests: number, share: number): void => {
    const differing = binomial(uniform, requests, share)
    part[0]! += requests - differing
    part[1]! += differing
  }
  return {
    add(requests, atMs) {
      const { lost, won } = pairShares(scenario, atMs, world)
      const everywhere = Math.min(1, lost + won)
      const inSlice = Math.min(1, everywhere + (scenario.kind === 'slice' ? scenario.by : 0))
      const [same, differ] = [0, 1].map((i) => parts.slice[i]! + parts.rest[i]!)
      const read = Math.min(requests, maxPairs - same! - differ!)
      const sliced = binomial(uniform, read, sliceShare)
      add(parts.slice, sliced, inSlice)
      add(parts.rest, read - sliced, everywhere)
    },
    evidence() {
      const distances = [0, 1].map((i) => parts.slice[i]! + parts.rest[i]!)
      if (distances[0]! + distances[1]! === 0) return undefined
      const slices = [
        { name: name ?? 'slice', distances: parts.slice },
        { name: 'others', distances: parts.rest },
      ]
      return {
        measure: 'decisions',
        all: { name: 'all requests', distances },
        slices: name === undefined ? [] : slices,
        changes: [],
      }
    },
  }
}

// Generates the outcomes of two arms: how often candidate and control were wrong, in blocks of users as the judge compares.

export interface ArmOutcomes {
  /** Adds the users of a tick that ends at `atMs`. */
  add(tick: Pick<CanaryTick, 'startMs' | 'canary' | 'control'>, atMs: number): void
  /** The losses of users whose outcomes are due; undefined while they make fewer than `minBlocks` blocks. */
  losses(nowMs: number, minBlocks: number): ArmLosses | undefined
}

/** How many of a block are wrong, for each arm. */
interface WrongBlocks {
  dueMs: number
  /** By the wrong ones of the candidate's block, then of the control's. */
  counts: number[]
}

export function armOutcomes(
  scenario: TrafficScenario,
  world: Pick<SimulatedWorld, 'labels'>,
  { canary: ofCanary, control: ofControl }: BlockSizes,
  given: Uniform,
): ArmOutcomes {
  const uniform = seededRandom(Math.floor(given() * 2 ** 32))
  const { labels } = world
  const coverage = outcomeShare(labels)
  const wrongBefore = 1 - championRight(scenario, world)
  const cells = Array.from({ length: (ofCanary + 1) * (ofControl + 1) }, (_, cell) => ({
    canary: Math.floor(cell / (ofControl + 1)),
    control: cell % (ofControl + 1),
  }))
  const differences = cells.map(({ canary, control }) =>
    countDifferences([canary / ofCanary - control / ofControl]),
  )
  const known = cells.map(() => 0)
  const waiting: WrongBlocks[] = []
  let taken = 0
  let blocks = 0
  // A tick may have too few users for a block, so those that are in none yet wait for the next one.
  const left = { canary: 0, control: 0 }
  return {
    add({ startMs, canary, control }, atMs) {
      const users = ({ requests, errors, invalid }: ArmCounts) => coverage * (requests - errors - invalid)
      left.canary += users(canary)
      left.control += users(control)
      const whole = Math.floor(Math.min(left.canary / ofCanary, left.control / ofControl))
      left.canary -= whole * ofCanary
      left.control -= whole * ofControl
      const before = binomialShares(ofControl, wrongBefore)
      const now = binomialShares(ofCanary, wrongBefore + netLoss(scenario, startMs, world))
      const shares = cells.map((cell) => now[cell.canary]! * before[cell.control]!)
      waiting.push({ dueMs: atMs + (labels?.delayMs ?? 0), counts: multinomial(uniform, whole, shares) })
    },
    losses(nowMs, minBlocks) {
      for (; taken < waiting.length && waiting[taken]!.dueMs <= nowMs; taken++)
        waiting[taken]!.counts.forEach((count, cell) => {
          known[cell]! += count
          blocks += count
        })
      if (blocks < minBlocks) return undefined
      const lossOf = (arm: 'canary' | 'control') =>
        known.reduce((sum, count, cell) => sum + count * cells[cell]![arm], 0)
      const counts = differences[0]!.map(() => 0)
      known.forEach((count, cell) => {
        if (count > 0) differences[cell]!.forEach((share, at) => (counts[at]! += count * share))
      })
      return {
        differences: counts,
        candidate: { total: blocks * ofCanary, loss: lossOf('canary') },
        control: { total: blocks * ofControl, loss: lossOf('control') },
      }
    },
  }
}

/** The probabilities of 0 to n events. */
function binomialShares(n: number, p: number): number[] {
  if (p <= 0 || p >= 1) return Array.from({ length: n + 1 }, (_, k) => Number(k === (p <= 0 ? 0 : n)))
  let share = (1 - p) ** n
  return Array.from({ length: n + 1 }, (_, k) => {
    if (k > 0) share *= ((n - k + 1) / k) * (p / (1 - p))
    return share
  })
}
