/**
 * Plays candidates that are better and answer otherwise, equal ones, and planted bugs of serving against the judge of releases: a gate on
 * labelled rows, a shadow with outcomes, three canary shares, and a holdback. Rows are drawn one by one from a model of each world.
 */
import { answerBins, answerCounter, taskOf } from '../../../domain/tasks/tasks.ts'
import { blocksOf, judgeHoldback, lossCounter, lossOf, scoredAlike } from '../../../domain/canary/holdback.ts'
import { defaultCanaryPolicy } from '../../../domain/canary/policy.ts'
import { distanceSteps } from '../../../domain/canary/disagreement.ts'
import type { ArmCounts } from '../../../domain/canary/evidence.ts'
import { answerShares, type PredictedAnswers } from '../../../domain/canary/predicted-answers.ts'
import { incrementalJudge } from '../../../domain/canary/incremental-judge.ts'
import { judgedLossOf } from '../../../domain/tasks/losses.ts'
import { numberProfile, scoreRanges, type ReferenceProfile } from '../../../domain/model/reference-profile.ts'
import { predictAnswers } from '../../../domain/evaluation/predict-answers.ts'
import { scaledLoss } from '../../../domain/tasks/numeric.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import type { OutcomeValue, Output } from '../../../domain/tasks/output.ts'
import {
  findSkew,
  isComparedCopy,
  mergeSkew,
  type ServedRows,
} from '../../../domain/monitoring/training-serving-skew.ts'
import { differenceCounter, seededRandom, standardNormal } from '@tenure/sequential'

/** A request: what each version gives by the training path, and the truth as an outcome has it. */
interface Row {
  champion: number[]
  candidate: number[]
  truth: number
  /** What the candidate serves, where a bug makes it another answer. */
  served?: number[]
}

interface Draws {
  uniform: () => number
  normal: () => number
}

export interface World {
  name: string
  champion: Output
  candidate: Output
  profile?: ReferenceProfile
  /** Draws a request of a day, whose inputs lie so far from the usual ones; a bug shows in live requests alone. */
  row: (draws: Draws, day: number, isLive: boolean) => Row
  /** How far the inputs of live requests have moved, in standard deviations. */
  mix?: number
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))
const drawsOf = (seed: number): Draws => {
  const uniform = seededRandom(seed)
  return { uniform, normal: () => standardNormal(uniform) }
}

// Worlds with a probability of "yes". One number z ranks the requests.

/** The slope of the log odds in z that gives this AUC at rates between a tenth and a third. */
const slopes = { 0.7: 0.83, 0.82: 1.65, 0.87: 2.2, 0.91: 2.9 } as const
type Auc = keyof typeof slopes

/** The log odds at z = 0 with which this share of the requests is "yes". */
function interceptOf(rate: number, slope: number): number {
  let [low, high] = [-12, 12]
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2
    let [sum, weights] = [0, 0]
    for (let z = -5; z <= 5; z += 0.05) {
      const weight = Math.exp((-z * z) / 2)
      sum += weight * sigmoid(middle + slope * z)
      weights += weight
    }
    if (sum / weights < rate) low = middle
    else high = middle
  }
  return (low + high) / 2
}

/** What each of two trainings makes of the same truth, in log odds. */
const trainingNoise = 0.1

interface Binary {
  from: number
  to: number
  auc: Auc
  /** What the champion knows less. */
  championAuc?: Auc
  thresholds?: [champion: number, candidate: number]
  mix?: number
}

function binary(
  name: string,
  { from, to, auc, championAuc = auc, thresholds = [0.5, 0.5], mix }: Binary,
): World {
  const [known, slope] = [slopes[championAuc], slopes[auc]]
  const [old, now] = [interceptOf(from, known), interceptOf(to, slope)]
  const outputOf = (threshold: number) => ({ kind: 'probability', positive: 'yes', threshold }) as const
  return {
    name,
    champion: outputOf(thresholds[0]),
    candidate: outputOf(thresholds[1]),
    mix,
    row({ uniform, normal }, day) {
      const z = normal() + day
      return {
        champion: [sigmoid(old + known * z + trainingNoise * normal())],
        candidate: [sigmoid(now + slope * z + trainingNoise * normal())],
        truth: Number(uniform() < sigmoid(now + slope * z)),
      }
    },
  }
}

// Worlds with classes, in which a version answers a class by the true one.

type Answer = (truth: number, draws: Draws) => number

const rightIn =
  (share: number, classes: number): Answer =>
  (truth, { uniform }) =>
    uniform() < share ? truth : Math.floor(uniform() * classes)

function classes(name: string, shares: readonly number[], champion: Answer, candidate: Answer): World {
  const output = { kind: 'classes', classes: shares.map((_, i) => `c${i}`) } as const
  const one = (at: number) => shares.map((_, i) => Number(i === at))
  return {
    name,
    champion: output,
    candidate: output,
    row(draws) {
      let [left, truth] = [draws.uniform(), 0]
      while (truth < shares.length - 1 && (left -= shares[truth]!) > 0) truth++
      return { champion: one(champion(truth, draws)), candidate: one(candidate(truth, draws)), truth }
    },
  }
}

// Worlds with a number. The input x is normal.

interface Numbers {
  champion: (x: number, draws: Draws) => number
  candidate: (x: number, draws: Draws) => number
  truth: (x: number, draws: Draws) => number
}

function number(name: string, { champion, candidate, truth }: Numbers): World {
  const draws = drawsOf(5)
  const trained = Array.from({ length: 20_000 }, () => champion(draws.normal(), draws))
  return {
    name,
    champion: { kind: 'number' },
    candidate: { kind: 'number' },
    profile: { rows: trained.length, features: [], score: numberProfile('score', trained) },
    row(own, day) {
      const x = own.normal() + day
      return { champion: [champion(x, own)], candidate: [candidate(x, own)], truth: truth(x, own) }
    },
  }
}

const price = (x: number) => Math.exp(4 + 0.3 * x)
const rare = [0.47, 0.3, 0.15, 0.05, 0.03]
const withNoise =
  (level: number) =>
  (x: number, { normal }: Draws) =>
    x + level + normal()

/** Twenty ways in which a better candidate answers otherwise. */
export const betterWorlds: readonly World[] = [
  binary('base rate 16 → 29 %, AUC 0.70', { from: 0.16, to: 0.29, auc: 0.7 }),
  binary('base rate 10 → 20 %, AUC 0.70', { from: 0.1, to: 0.2, auc: 0.7 }),
  binary('base rate 10 → 20 %, AUC 0.82', { from: 0.1, to: 0.2, auc: 0.82 }),
  binary('base rate 10 → 20 %, AUC 0.91', { from: 0.1, to: 0.2, auc: 0.91 }),
  binary('base rate 20 → 30 %, AUC 0.70', { from: 0.2, to: 0.3, auc: 0.7 }),
  binary('base rate 20 → 30 %, AUC 0.82', { from: 0.2, to: 0.3, auc: 0.82 }),
  binary('base rate 20 → 12 %, AUC 0.70', { from: 0.2, to: 0.12, auc: 0.7 }),
  binary('base rate 30 → 20 %, AUC 0.87', { from: 0.3, to: 0.2, auc: 0.87 }),
  binary('16 → 29 %, live inputs −0.5 sd', { from: 0.16, to: 0.29, auc: 0.7, mix: -0.5 }),
  binary('10 → 20 %, live inputs +0.5 sd', { from: 0.1, to: 0.2, auc: 0.82, mix: 0.5 }),
  binary('threshold 0.5 → 0.2, base rate 10 %', { from: 0.1, to: 0.1, auc: 0.82, thresholds: [0.5, 0.2] }),
  binary('threshold 0.5 → 0.1, base rate 3 %', { from: 0.03, to: 0.03, auc: 0.82, thresholds: [0.5, 0.1] }),
  binary('AUC 0.70 → 0.82, base rate 20 %', { from: 0.2, to: 0.2, auc: 0.82, championAuc: 0.7 }),
  classes(
    'a class that the champion lacks, 4 %',
    [0.46, 0.3, 0.15, 0.05, 0.04],
    (truth, draws) => (truth === 4 ? 0 : rightIn(0.9, 4)(truth, draws)),
    rightIn(0.9, 5),
  ),
  classes(
    'recall of a rare class 10 → 75 %',
    rare,
    (truth, { uniform }) => (truth === 4 && uniform() >= 0.1 ? 1 : truth),
    (truth, { uniform }) => (truth === 4 && uniform() >= 0.75 ? 1 : truth),
  ),
  classes(
    'a class that has become rare, 10 → 3 %',
    [0.5, 0.3, 0.17, 0.03],
    (truth, { uniform }) => (uniform() < 0.07 ? 3 : truth),
    (truth) => truth,
  ),
  number('level of a number +1 sd', { champion: (x) => x, candidate: (x) => x + 1, truth: withNoise(1) }),
  number('level of a number +0.5 sd', {
    champion: (x) => x,
    candidate: (x) => x + 0.5,
    truth: withNoise(0.5),
  }),
  number('prices +30 %', {
    champion: price,
    candidate: (x) => 1.3 * price(x),
    truth: (x, { normal }) => 1.3 * price(x) * Math.exp(0.2 * normal()),
  }),
  number('R² of a number 0.2 → 0.6', {
    champion: (x) => 0.45 * x,
    candidate: (x, { normal }) => 0.9 * x + 0.3 * normal(),
    truth: (x, { normal }) => x + 0.7 * normal(),
  }),
]

/** Candidates that are as good as the champion and differ from it by their training alone. */
export const equalWorlds: readonly World[] = [
  binary('equal, base rate 20 %, AUC 0.82', { from: 0.2, to: 0.2, auc: 0.82 }),
  binary('equal, base rate 30 %, AUC 0.87', { from: 0.3, to: 0.3, auc: 0.87 }),
  binary('equal, base rate 10 %, AUC 0.70', { from: 0.1, to: 0.1, auc: 0.7 }),
  binary('equal, live inputs +0.5 sd', { from: 0.2, to: 0.2, auc: 0.82, mix: 0.5 }),
  binary('equal, live inputs −0.5 sd', { from: 0.2, to: 0.2, auc: 0.82, mix: -0.5 }),
  classes(
    'equal, ten classes',
    Array.from({ length: 10 }, () => 0.1),
    rightIn(0.9, 10),
    rightIn(0.9, 10),
  ),
  number('equal, a number', {
    champion: (x, { normal }) => x + 0.1 * normal(),
    candidate: (x, { normal }) => x + 0.1 * normal(),
    truth: withNoise(0),
  }),
]

// Bugs of serving: the model is as good as the champion, and what it serves is not what it was judged by.

interface Inputs {
  x: number
  /** From a lookup table. */
  looked: number
  /** A category by its place, of which the last has a tenth of the requests. */
  group: number
}

const groupEffects = [-0.8, 0, 0.6, 1.2]
const smallGroup = 3
const isSmall = ({ group }: Inputs) => group === smallGroup

function buggy(
  name: string,
  serve: (inputs: Inputs, score: (of: Inputs) => number, draws: Draws) => number,
): World {
  const output = { kind: 'probability', positive: 'yes', threshold: 0.5 } as const
  const oddsOf = ({ x, looked, group }: Inputs) => -1.3 + 1.2 * x + 0.8 * looked + (groupEffects[group] ?? 0)
  return {
    name,
    champion: output,
    candidate: output,
    row(draws, day, isLive) {
      const { uniform, normal } = draws
      const inputs = {
        x: normal() + day,
        looked: normal(),
        group: [0, 0.4, 0.7, 0.9].findLastIndex(below(uniform())),
      }
      const own = trainingNoise * normal()
      const score = (of: Inputs) => sigmoid(oddsOf(of) + own)
      const candidate = [score(inputs)]
      return {
        champion: [sigmoid(oddsOf(inputs) + trainingNoise * normal())],
        candidate,
        truth: Number(uniform() < sigmoid(oddsOf(inputs))),
        served: isLive ? [serve(inputs, score, draws)] : candidate,
      }
    },
  }
}

const below = (drawn: number) => (from: number) => from <= drawn

function buggyNumber(name: string, serve: (value: number) => number): World {
  const of = (x: number, { normal }: Draws) => 100 + 10 * x + normal()
  const sound = number(name, { champion: of, candidate: of, truth: of })
  return {
    ...sound,
    row(draws, day, isLive) {
      const row = sound.row(draws, day, isLive)
      return { ...row, served: isLive ? row.candidate.map(serve) : row.candidate }
    },
  }
}

function swappedClasses(): World {
  const sound = classes('classes swapped', rare, rightIn(0.9, 5), rightIn(0.9, 5))
  return {
    ...sound,
    row(draws, day, isLive) {
      const row = sound.row(draws, day, isLive)
      return {
        ...row,
        served: isLive ? [row.candidate.at(-1)!, ...row.candidate.slice(0, -1)] : row.candidate,
      }
    },
  }
}

export const bugs: readonly World[] = [
  buggyNumber('a number × 10', (value) => 10 * value),
  buggyNumber('a number ÷ 10', (value) => value / 10),
  swappedClasses(),
  buggy('yes and no swapped', (inputs, score) => 1 - score(inputs)),
  buggy('columns swapped', (inputs, score) => score({ ...inputs, x: inputs.looked, looked: inputs.x })),
  buggy('a constant', () => 0.25),
  buggy('a stale lookup', (inputs, score, { normal }) => score({ ...inputs, looked: normal() })),
  buggy('another unit, × 1,000', (inputs, score) => score({ ...inputs, x: 1_000 * inputs.x })),
  buggy('categories truncated, unknown in 30 %', (inputs, score) =>
    score({ ...inputs, group: inputs.group >= 2 ? -1 : inputs.group }),
  ),
  buggy('NaN in a slice of 10 %', (inputs, score) => (isSmall(inputs) ? NaN : score(inputs))),
  buggy('a slice of 10 % inverted', (inputs, score) => (isSmall(inputs) ? 1 - score(inputs) : score(inputs))),
  buggy('an input rounded to halves', (inputs, score) =>
    score({ ...inputs, x: Math.round(2 * inputs.x) / 2 }),
  ),
]

/** Where a candidate is judged: its shadow, its shares of the canary, and the share that has a holdback. */
const places = ['shadow', 0.05, 0.25, 0.5, 'holdback'] as const
const holdbackBp = 500
const testRows = 5_000
const testDays = 7
/** How far the inputs move from day to day, in standard deviations. */
const daySpread = 0.1

export interface Played {
  end: 'passed' | 'asked' | 'rolled back'
  code?: string
  /** Requests of the candidate until then, copies included. */
  requests: number
  /** The shares of the answer that moves most on the test rows. */
  moved: Record<'champion' | 'candidate', number>
}

export interface PlayedSize {
  /** Users of each stage. */
  users: number
  /** Users of a tick; the judge looks after every `looks` ticks. */
  tick: number
  looks: number
  /** Whether served rows are compared with the training path. Default: they are. */
  isCompared?: boolean
}

/** Plays one release. The first question of a judge ends it as asked. */
export function playWorld(
  world: World,
  seed: number,
  { users, tick, looks, isCompared = true }: PlayedSize,
): Played {
  const draws = drawsOf(seed)
  const predicted = predictionOf(world, draws)
  const moved = mostMoved(predicted)
  const counted = countedAnswers(world)
  const { perAnswer, names: answerNames } = counted.bins
  const judge = incrementalJudge(
    { ...defaultCanaryPolicy, promotion: 'off', srm: 'off' },
    perAnswer,
    predicted,
  )
  const outcomes = outcomesOf(world)
  const pairs = pairsOf(world)
  const liveDay = daySpread * draws.normal() + (world.mix ?? 0)
  let [atMs, requests] = [0, 0]

  for (const place of places) {
    const isShadow = place === 'shadow'
    const share = isShadow ? 0.5 : place === 'holdback' ? 1 - holdbackBp / 10_000 : place
    const startedMs = atMs
    let served: ServedRows = { compared: 0, mismatchedRows: 0, columns: [] }
    let seen = 0
    for (let ticks = 1; ticks <= users / tick; ticks++) {
      const arms = { canary: emptyArm(answerNames), control: emptyArm(answerNames) }
      for (let user = 0; user < tick; user++) {
        const row = world.row(draws, liveDay, true)
        const own = row.served ?? row.candidate
        // Every second request of a shadow is copied; the others are its control.
        const isOwn = isShadow ? user % 2 === 0 : draws.uniform() < share
        const isValid = isOwn
          ? counted.add(arms.canary, own, 'candidate')
          : counted.add(arms.control, row.champion, 'champion')
        if (isOwn) requests++
        if (!isValid) continue
        if (isOwn && isComparedCopy(seen++))
          served = mergeSkew(served, findSkew([replayed(row.candidate, own)]))
        if (isOwn && isShadow) pairs.add(row, own)
        if (place !== 'holdback') continue
        outcomes.add(
          isOwn
            ? { arm: 'canary', atMs, outputs: own, value: outcomeOf(world, row) }
            : { arm: 'control', atMs, outputs: row.champion, value: outcomeOf(world, row) },
        )
      }
      judge.add({
        startMs: atMs,
        shareBp: isShadow ? null : 10_000 * share,
        ...arms,
        ...(isShadow && { shadow: true }),
      })
      atMs += 10_000
      if (ticks % looks > 0) continue
      const stage = {
        index: 0,
        shareBp: 10_000 * share,
        startedMs,
        elapsedMs: atMs - startedMs,
        minMs: 1,
        minRequests: 1,
        last: false,
      }
      const verdict = judge.judge({
        stage: { ...stage, ...(isShadow && { shadow: true }) },
        staleMs: 0,
        answerNames,
        predicted,
        ...(isCompared && { served }),
        ...(isShadow && pairs.evidence()),
      })
      const losses = place === 'holdback' ? outcomes.losses() : undefined
      const worse =
        losses &&
        judgeHoldback(losses, defaultCanaryPolicy.alpha.quality, defaultCanaryPolicy.minDelta).reason
      const reason = verdict.kind === 'fail' ? verdict.reasons[0] : worse
      if (reason != null) return { end: 'rolled back', code: reason.code, requests, moved }
      if (verdict.questions !== undefined)
        return { end: 'asked', code: verdict.questions[0], requests, moved }
    }
  }
  return { end: 'passed', requests, moved }
}

const emptyArm = (names: readonly string[]): ArmCounts & { answers: number[] } => ({
  requests: 0,
  keys: 0,
  errors: 0,
  invalid: 0,
  slow95: 0,
  slow99: 0,
  answers: names.map(() => 0),
})

const replayed = (own: readonly number[], served: readonly number[]) => {
  const columns = (outputs: readonly number[]) =>
    Object.fromEntries(outputs.map((value, i) => [`output ${i + 1}`, value]))
  return { predictionId: 'row', served: columns(served), replayed: columns(own) }
}

const outcomeOf = ({ candidate }: World, { truth }: Row): OutcomeValue =>
  candidate.kind === 'classes' ? candidate.classes[truth]! : truth

/** What the gate sees of both versions on labelled rows of a week. */
function predictionOf(world: World, draws: Draws): PredictedAnswers {
  const days = Array.from({ length: testDays }, () => daySpread * draws.normal())
  const dayOf = (row: number) => Math.floor((row * testDays) / testRows)
  const rows = Array.from({ length: testRows }, (_, row) => world.row(draws, days[dayOf(row)]!, false))
  return predictAnswers({
    y: rows.map(({ truth }) => truth),
    challenger: { answers: rows.map(({ candidate }) => candidate), output: world.candidate },
    champion: {
      answers: rows.map(({ champion }) => champion),
      output: world.champion,
      profile: world.profile,
    },
    shared: world.candidate,
    days: rows.map((_, row) => dayOf(row)),
    slices: [],
  })!
}

/** The shares of the answer that moves most. */
function mostMoved(predicted: PredictedAnswers): Played['moved'] {
  const { champion, candidate } = answerShares(predicted)
  const gaps = champion.map((share, i) =>
    Math.abs(Math.log((candidate[i]! + 1 / testRows) / (share + 1 / testRows))),
  )
  const at = gaps.indexOf(Math.max(...gaps))
  return { champion: champion[at]!, candidate: candidate[at]! }
}

/** Counts answers in the bins of the champion; false for one that is not finite. */
function countedAnswers({ champion, candidate, profile }: World) {
  const bins = answerBins(champion, profile)!
  const counters = { champion: answerCounter(bins, champion)!, candidate: answerCounter(bins, candidate)! }
  return {
    bins,
    add(
      arm: ReturnType<typeof emptyArm>,
      outputs: readonly number[],
      version: keyof typeof counters,
    ): boolean {
      arm.requests++
      arm.keys!++
      const isValid = outputs.every(Number.isFinite)
      if (isValid) counters[version](arm.answers, Float32Array.from(outputs), 0)
      else arm.invalid++
      return isValid
    },
  }
}

function lossesOf({ champion, candidate, profile }: World) {
  const by = scoredAlike(candidate, { output: champion, profile } as Pick<Manifest, 'output' | 'profile'>)!
  return { judged: judgedLossOf(candidate), by }
}

const outcomesOf = (world: World) =>
  lossCounter({ ...lossesOf(world), blocks: blocksOf(10_000 - holdbackBp) })

/** Compares the answers of both versions to the same requests, and their losses. */
function pairsOf(world: World) {
  const { judged, by } = lossesOf(world)
  const { decides } = taskOf(world.champion)
  const scales = scoreRanges(world.profile)
  const distances = Array.from({ length: decides === undefined ? distanceSteps + 1 : 2 }, () => 0)
  const distanceOf = (one: readonly number[], other: readonly number[]): number =>
    decides === undefined
      ? (scaledLoss([Math.abs(one[0]! - other[0]!)], scales) ?? 0)
      : Number(decides.of(world.champion, one) !== decides.of(world.candidate, other))
  const differences = differenceCounter()
  const totals = { candidate: { total: 0, loss: 0 }, control: { total: 0, loss: 0 } }
  return {
    add(row: Row, served: readonly number[]): void {
      distances[Math.round(distanceOf(row.champion, served) * (distances.length - 1))]!++
      const value = outcomeOf(world, row)
      const own = lossOf(judged, by.canary, { outputs: served, value })
      const other = lossOf(judged, by.control, { outputs: row.champion, value })
      if (own === null || other === null) return
      differences.add(own - other)
      totals.candidate.total++
      totals.candidate.loss += own
      totals.control.total++
      totals.control.loss += other
    },
    evidence() {
      const measure = decides === undefined ? ('distance' as const) : ('decisions' as const)
      const all = { name: 'all requests', distances: [...distances] }
      return {
        disagreement: { measure, all, slices: [], changes: [] },
        ...(totals.control.total > 0 && {
          pairedLosses: { judged, differences: differences.counts(), ...totals },
        }),
      }
    },
  }
}
