/**
 * Tests that every stage which judges outcomes has the goal of the gate: for each task and each metric that may be primary, no stage fails a
 * candidate that is better by the metric, and each fails one that is worse, with the loss in its sentence.
 */
import {
  countDifferences,
  normalQuantile,
  pointValue,
  seededRandom,
  standardNormal,
} from '@tenure/sequential'
import { describe, expect, it } from 'vitest'
import { judgeAbLosses } from '../../../domain/canary/ab-test.ts'
import {
  blocksOf,
  judgeHoldback,
  lossCounter,
  lossesOfDecisions,
  lossOf,
  pairedLosses,
  scoredAlike,
  type ArmLosses,
  type LossQuestion,
} from '../../../domain/canary/holdback.ts'
import { judgeCanary } from '../../../domain/canary/incremental-judge.ts'
import { defaultCanaryPolicy } from '../../../domain/canary/policy.ts'
import type { GateMetric } from '../../../domain/evaluation/gate-metrics.ts'
import { higherIsBetter, score, statisticOf } from '../../../domain/evaluation/metrics.ts'
import { defaultGatePolicy, policyForOutput, type GatePolicy } from '../../../domain/evaluation/policy.ts'
import { numberProfile } from '../../../domain/model/reference-profile.ts'
import { judgeReturn } from '../../../domain/monitoring/decay.ts'
import { stagesText } from '../../../domain/tasks/judged-words.ts'
import { judgedLoss, judgedLossOf, lossText, rowLosses } from '../../../domain/tasks/losses.ts'
import type { Output, OutputKind, OutcomeValue } from '../../../domain/tasks/output.ts'
import { numbersOf, taskOf } from '../../../domain/tasks/tasks.ts'

const rows = 4_000

/** One request: its outcome, and the answers of a version that knows more and of one that knows less. */
interface Request {
  value: OutcomeValue
  truths: number[]
  more: number[]
  less: number[]
}

interface World {
  output: Output
  request: (normal: () => number, uniform: () => number) => Request
}

const logistic = (x: number) => 1 / (1 + Math.exp(-x))
const softmax = (scores: number[]) => {
  const powers = scores.map(Math.exp)
  return powers.map((each) => each / powers.reduce((sum, power) => sum + power, 0))
}
const levels = [0.1, 0.5, 0.9]
const quantilesOf = (mean: number, spread: number) =>
  levels.map((level) => mean + spread * normalQuantile(level)!)

const worlds: Readonly<Record<OutputKind, World>> = {
  probability: {
    output: { kind: 'probability', positive: 'yes', threshold: 0.3 },
    request(normal, uniform) {
      const known = -1.2 + 2.5 * normal()
      const truth = Number(uniform() < logistic(known))
      // Noise on the logit ranks worse, and its average keeps the probabilities near the truth.
      return {
        value: truth === 1,
        truths: [truth],
        more: [logistic(known)],
        less: [logistic((known + 2.5 * normal()) / 1.9)],
      }
    },
  },
  classes: {
    output: { kind: 'classes', classes: ['a', 'b', 'c'] },
    request(normal, uniform) {
      const truth = Math.floor(uniform() * 3)
      const seen = [0, 1, 2].map((k) => 2 * Number(k === truth) + normal())
      const dim = seen.map((each) => each + 1.5 * normal())
      const [more, less] = [seen.map((each) => 2 * each), dim.map((each) => (2 * each) / 3.25)].map(softmax)
      return { value: 'abc'[truth]!, truths: [truth], more: more!, less: less! }
    },
  },
  number: {
    output: { kind: 'number' },
    request(normal) {
      const [known, hidden] = [10 * normal(), 10 * normal()]
      const truth = known + hidden + 5 * normal()
      return { value: truth, truths: [truth], more: [known + hidden], less: [known] }
    },
  },
  quantiles: {
    output: { kind: 'quantiles', levels },
    request(normal) {
      const [known, hidden] = [10 * normal(), 10 * normal()]
      const truth = known + hidden + 5 * normal()
      // The other is too sure of itself, so that it covers less than it says.
      return {
        value: truth,
        truths: [truth],
        more: quantilesOf(known + hidden, 5),
        less: quantilesOf(known, 5),
      }
    },
  },
  numbers: {
    output: { kind: 'numbers', names: ['near', 'far'] },
    request(normal) {
      const parts = [1, 10].map((unit) => {
        const [known, hidden] = [10 * unit * normal(), 10 * unit * normal()]
        return { truth: known + hidden + 5 * unit * normal(), more: known + hidden, less: known }
      })
      const of = (name: 'truth' | 'more' | 'less') => parts.map((part) => part[name])
      const [near, far] = of('truth')
      return { value: { near: near!, far: far! }, truths: of('truth'), more: of('more'), less: of('less') }
    },
  },
}

const kinds = Object.keys(worlds) as OutputKind[]
const lived = Object.fromEntries(
  kinds.map((kind) => {
    const uniform = seededRandom(611)
    const { request } = worlds[kind]
    return [kind, Array.from({ length: rows }, () => request(() => standardNormal(uniform), uniform))]
  }),
) as Record<OutputKind, Request[]>

const own = 'distance'
const policyOf = (kind: OutputKind, primary: string): GatePolicy => {
  const { output } = worlds[kind]
  const { gate } = taskOf(output)
  const policy = policyForOutput({ ...defaultGatePolicy(gate.name), primary }, output)
  return primary === own
    ? { ...policy, standIn: gate.primary, custom: { [own]: { better: 'lower' } } }
    : policy
}
const cells = kinds.flatMap((kind) =>
  [...taskOf(worlds[kind].output).gate.metrics, own].map((metric) => [kind, metric] as const),
)

/** How both versions are scored; the profile is that of the champion's answers. */
function questionOf(kind: OutputKind, champion: 'more' | 'less', policy: GatePolicy): LossQuestion {
  const { output } = worlds[kind]
  const names = numbersOf(output)
  const at = (place: number) => lived[kind].map((each) => each[champion][place]!)
  const scores =
    names.length > 0 ? names.map((name, k) => numberProfile(name, at(k))) : [numberProfile('score', at(0))]
  const profile = { rows, features: [], ...(names.length > 0 ? { scores } : { score: scores[0]! }) }
  return {
    judged: judgedLossOf(output, policy),
    by: scoredAlike(output, { output, profile })!,
    blocks: blocksOf(5_000),
  }
}

type Candidate = 'more' | 'less'
const otherOf = (candidate: Candidate): Candidate => (candidate === 'more' ? 'less' : 'more')

function armsOf(kind: OutputKind, candidate: Candidate, question: LossQuestion): ArmLosses {
  const counter = lossCounter(question)
  for (const [i, each] of lived[kind].entries()) {
    const arm = i % 2 === 0 ? ('canary' as const) : ('control' as const)
    const outputs = each[arm === 'canary' ? candidate : otherOf(candidate)]
    counter.add({ arm, atMs: i, outputs, value: each.value })
  }
  return counter.losses()!
}

const limits = {
  ...defaultCanaryPolicy,
  promotion: 'off',
  srm: 'off',
  scoreShift: 'off',
  disagreement: 'off',
} as const
const arm = { requests: 1_000, errors: 0, invalid: 0, slow95: 0, slow99: 0 }
const looked = {
  ticks: [{ startMs: 0, shareBp: 5_000, canary: arm, control: arm }],
  staleMs: 0,
  stage: { index: 0, shareBp: 5_000, startedMs: 0, elapsedMs: 1, minMs: 1, minRequests: 1, last: false },
}

/** Why a stage is against the candidate; undefined where it is not. */
type Stage = (kind: OutputKind, candidate: Candidate, question: LossQuestion) => string | undefined

const pairsOf: (...asked: Parameters<Stage>) => ArmLosses = (kind, candidate, question) => {
  const { output } = worlds[kind]
  const kept = taskOf(output)
    .fields(output)
    .find(({ is }) => is === 'number' || is === 'numbers')!
  const answer = (outputs: number[]) => ({ [kept.field]: kept.is === 'number' ? outputs[0]! : outputs })
  const pairs = lived[kind].map((each) => ({
    canary: answer(each[candidate]),
    control: answer(each[otherOf(candidate)]),
    value: each.value,
  }))
  return pairedLosses(pairs, question)!
}

const stages: Readonly<Record<string, Stage>> = {
  'the shadow': (...asked) => {
    const verdict = judgeCanary({ ...looked, pairedLosses: pairsOf(...asked) }, limits)
    return verdict.kind === 'fail' ? verdict.reasons[0]!.message : undefined
  },
  'the proof of the last stage': (...asked) => {
    const policy = {
      ...limits,
      alpha: { ...limits.alpha, paired: 1e-300 },
      nonInferiority: { margin: 0.001, logE: 3 },
    }
    const evidence = { ...looked, stage: { ...looked.stage, last: true }, pairedLosses: pairsOf(...asked) }
    const verdict = judgeCanary(evidence, policy)
    return verdict.kind === 'inconclusive' ? verdict.reasons[0]!.message : undefined
  },
  'an A/B test': (...asked) => {
    const { kind, reason } = judgeAbLosses(armsOf(...asked), { alpha: 0.05 }, 0.002)
    return kind === 'worse' ? reason.message : undefined
  },
  'the probation': (...asked) => judgeHoldback(armsOf(...asked), 0.004, 0.001).reason?.message,
  // The candidate is champion, and the previous version answers its rows again.
  'the watch of a champion': (kind, candidate, { judged, by }) => {
    const differences = lived[kind].map((each) => {
      const own = lossOf(judged, by.canary, { outputs: each[candidate], value: each.value })
      return own! - lossOf(judged, by.control, { outputs: each[otherOf(candidate)], value: each.value })!
    })
    const { isBetter, message } = judgeReturn(countDifferences(differences), { to: 'm_v1', judged })
    return isBetter ? message : undefined
  },
}

describe.each(cells)('%s with the primary metric %s', (kind, metric) => {
  const policy = policyOf(kind, metric)

  it.skipIf(metric === own)('knows which version is better', () => {
    const valueOf = (version: Candidate) => {
      const scored = score(
        policy.task,
        lived[kind].flatMap(({ truths }) => truths),
        lived[kind].map((each) => each[version]),
        policy,
      )
      return pointValue(statisticOf(metric as GateMetric, scored), rows)!
    }
    const gain = valueOf('more') - valueOf('less')
    expect(higherIsBetter(metric as GateMetric) ? gain : -gain).toBeGreaterThan(0)
  })

  it.each(Object.entries(stages))(
    '%s fails none that is better, and one that is worse',
    (_stage, against) => {
      expect(against(kind, 'more', questionOf(kind, 'less', policy))).toBeUndefined()
      const question = questionOf(kind, 'more', policy)
      expect(against(kind, 'less', question)).toContain(lossText(question.judged))
    },
  )

  it('has a loss of its task from 0 to 1, and says for what it stands in', () => {
    const judged = judgedLoss(policy)
    expect(Object.keys(taskOf(worlds[kind].output).losses)).toContain(judged.loss)
    expect(judged.standsInFor).toBe(judged.loss === metric ? undefined : metric)
    const stated = metric === own ? rowLosses[judged.loss].name : lossText(judged)
    expect(stagesText(policy)).toContain(stated)
    const { by } = questionOf(kind, 'less', policy)
    for (const { less, value } of lived[kind].slice(0, 200)) {
      const loss = lossOf(judged, by.control, { outputs: less, value })
      expect(loss).toBeGreaterThanOrEqual(0)
      expect(loss).toBeLessThanOrEqual(1)
    }
  })
})

it('judges a version without an evaluation of its task by the default metric', () => {
  const { output } = worlds.number
  expect(judgedLossOf(output)).toEqual({ loss: 'rmse' })
  expect(judgedLossOf(output, policyOf('probability', 'logLoss'))).toEqual({ loss: 'rmse' })
})

it('judges a custom metric by its stand-in where that is an average over rows', () => {
  const policy = { ...policyOf('probability', own), standIn: 'logLoss' as const }
  expect(lossText(judgedLoss(policy))).toBe('log loss in place of distance')
  expect(lossText(judgedLoss(policyOf('probability', own)))).toBe(
    'cost of decisions at the threshold 0.3 in place of distance',
  )
})

/** Pairs of one calibrated model of 10 % positives with two thresholds. */
function thresholdPairs(seed: number, { from, to }: { from: number; to: number }) {
  const uniform = seededRandom(seed)
  const of = (threshold: number): Output => ({ kind: 'probability', positive: 'yes', threshold })
  const pairs = Array.from({ length: 3_000 }, () => {
    const probability = logistic(-2.93 + 1.55 * standardNormal(uniform))
    return { canary: { probability }, control: { probability }, value: uniform() < probability }
  })
  return (policy: GatePolicy) =>
    pairedLosses(pairs, {
      judged: judgedLossOf(of(0.2), policy),
      by: scoredAlike(of(to), { output: of(from), profile: undefined })!,
    })!
}
const failsBy = (losses: ArmLosses): boolean =>
  judgeCanary({ ...looked, pairedLosses: losses }, limits).kind === 'fail'
const seeds = Array.from({ length: 40 }, (_, i) => 611_000_000 + i)

describe('a threshold of 0.2, which says that a miss costs four false alarms', () => {
  const binary = (primary: string) => policyOf('probability', primary)

  it('is rolled back for its accuracy, and never for its cost, which falls', () => {
    const rolledBack = (primary: string) =>
      seeds.filter((seed) => failsBy(thresholdPairs(seed, { from: 0.5, to: 0.2 })(binary(primary)))).length
    expect(['accuracy', own, 'f1', 'auc'].map(rolledBack)).toEqual([seeds.length, 0, 0, 0])
  })

  it('finds a version that decides from 0.5 on, whose accuracy is better and whose cost is not', () => {
    const rolledBack = (primary: string) =>
      seeds.filter((seed) => failsBy(thresholdPairs(seed, { from: 0.2, to: 0.5 })(binary(primary)))).length
    expect(rolledBack(own)).toBeGreaterThan(seeds.length / 2)
    expect(rolledBack('accuracy')).toBe(0)
  })
})

describe('pairs', () => {
  const classes = (...names: string[]): Output => ({ kind: 'classes', classes: names })

  it('of versions with other classes are right or wrong all the same', () => {
    const by = scoredAlike(classes('a', 'new'), { output: classes('a', 'old'), profile: undefined })!
    const pair = { canary: { probabilities: [0.1, 0.9] }, control: { probabilities: [0.9, 0.1] } }
    const lossesOf = (loss: 'accuracy' | 'brier' | 'logLoss', value: string) => {
      const { candidate, control } = pairedLosses([{ ...pair, value }], { judged: { loss }, by }) ?? {}
      return [candidate?.loss, control?.loss]
    }
    expect(lossesOf('accuracy', 'new')).toEqual([0, 1])
    expect(lossesOf('accuracy', 'old')).toEqual([1, 1])
    expect(lossesOf('brier', 'new')).toEqual([expect.closeTo(0.01, 10), expect.closeTo(0.91, 10)])
    expect(lossesOf('logLoss', 'new')).toEqual([expect.closeTo(0.0153, 3), 1])
    expect(lossesOf('accuracy', 'unknown')).toEqual([undefined, undefined])
  })

  it('whose outcomes were told by a number or a name count as those told as truth', () => {
    const output: Output = { kind: 'probability', positive: 'late', threshold: 0.5 }
    const by = scoredAlike(output, { output, profile: undefined })!
    const pair = { canary: { probability: 0.9 }, control: { probability: 0.1 } }
    const wrong = ([true, 1, 'late', false, 0] as const).map(
      (value) => pairedLosses([{ ...pair, value }], { judged: { loss: 'accuracy' }, by })!.candidate.loss,
    )
    expect(wrong).toEqual([0, 0, 0, 1, 1])
  })

  it('of evidence that was stored by which version was right are judged as their losses', () => {
    const counts = { b: 30, c: 5, same: 400 }
    const [stored, now] = [{ paired: counts }, { pairedLosses: lossesOfDecisions(counts) }].map((evidence) =>
      judgeCanary({ ...looked, ...evidence }, limits),
    )
    expect(stored).toEqual(now)
    expect(stored!.reasons[0]).toMatchObject({ code: 'paired_quality', values: { pairs: 435 } })
    expect(stored!.reasons[0]!.message).toContain(`(${rowLosses.accuracy.name})`)
  })
})
