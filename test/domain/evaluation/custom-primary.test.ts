/**
 * Tests the gate whose primary metric is a function of the model file: that it decides for every task as a metric of the task does, against
 * champion, baseline and best recent release, and by simulation that a challenger beyond the margin passes at its declared rate.
 */
import { describe, expect, it } from 'vitest'
import {
  computeMetric,
  metricAnswers,
  type MetricAnswer,
  type MetricFunction,
} from '../../../domain/evaluation/custom-metrics.ts'
import { judgeGate, metricInputOf, scoreInputOf, type GateReport } from '../../../domain/evaluation/gate.ts'
import type { GateInput } from '../../../domain/evaluation/input.ts'
import { defaultGatePolicy, primaryIsHigher, type GatePolicy } from '../../../domain/evaluation/policy.ts'
import { gateMarkdown } from '../../../domain/evaluation/report-markdown.ts'
import { truthOf } from '../../../domain/model/outcome.ts'
import { gateIssues } from '../../../domain/release/certificate.ts'
import type { OutputKind } from '../../../domain/tasks/output.ts'
import { standInText } from '../../../domain/tasks/judged-words.ts'
import { judgedLoss, rowLosses } from '../../../domain/tasks/losses.ts'
import { taskOf } from '../../../domain/tasks/tasks.ts'
import { seededRandom } from '@tenure/sequential'
import { mostOf, worldsOf } from '../../support/evaluation/worlds.ts'
import { answeringKinds, answeringModels, outputOf, skills } from '../../support/tasks/answering.ts'

const rows = 2_000
const at = Array.from({ length: rows }, (_, row) => row)
type Skill = keyof typeof skills

const answersOf = (kind: OutputKind, skill: Skill) =>
  at.map((row) => answeringModels[kind].answer(row, skills[skill](row)))
const inputOf = (kind: OutputKind, skill: Skill, more: Partial<GateInput> = {}): GateInput => ({
  y: at.flatMap((row) => truthOf(answeringModels[kind].outcome(row), outputOf(kind))!),
  challenger: answersOf(kind, skill),
  champion: answersOf(kind, 'usual'),
  ...more,
})
const policyOf = (kind: OutputKind, more: Partial<GatePolicy> = {}): GatePolicy => {
  const { gate, facts } = taskOf(outputOf(kind))
  const base = defaultGatePolicy(gate.name)
  return {
    ...base,
    resamples: 60,
    calibration: 'off',
    leakage: { ...base.leakage, gain: 1 },
    ...facts(outputOf(kind)),
    primary: 'distance',
    standIn: gate.primary,
    custom: { distance: { better: 'lower', floor: 1e6 } },
    ...more,
  }
}

/** The mean distance of an answer from the truth, of every task. */
const distanceOf =
  (kind: OutputKind): MetricFunction =>
  (y, answers) => {
    const width = y.length / answers.length
    const one = (answer: MetricAnswer, row: number) => {
      if (typeof answer === 'number') return Math.abs(answer - y[row]!)
      if (kind === 'classes') return 1 - answer[y[row]!]!
      return answer.reduce((sum, each, k) => sum + Math.abs(each - y[row * width + (k % width)]!), 0)
    }
    return answers.reduce<number>((sum, answer, row) => sum + one(answer, row), 0) / answers.length
  }

/** The report, from whose tables its verdict follows again, as a certificate has it. */
function judged(kind: OutputKind, input: GateInput, more: Partial<GatePolicy> = {}): GateReport {
  const report = judgeGate(input, policyOf(kind, more), { distance: distanceOf(kind) })
  const read = JSON.parse(JSON.stringify(report)) as GateReport
  expect(gateIssues({ report: read, inputs: { leakage: {} } })).toEqual([])
  return report
}
const codesOf = ({ reasons }: GateReport) => reasons.map(({ code }) => code)

describe.each(answeringKinds)('a custom primary metric of %s', (kind) => {
  it('lets a better challenger pass and refuses a worse one', () => {
    const better = judged(kind, inputOf(kind, 'best'))
    expect(better).toMatchObject({
      verdict: 'better',
      metrics: [{ metric: 'distance', method: 'bootstrap', verdict: 'better' }, ...better.metrics.slice(1)],
      reasons: [{ code: 'better', values: { metric: 'distance' } }],
    })
    const worse = judged(kind, inputOf(kind, 'worst'))
    expect(worse).toMatchObject({
      verdict: 'not_better',
      metrics: [{ verdict: 'worse' }, ...worse.metrics.slice(1)],
    })
    expect(codesOf(worse)).toContain('primary_not_better')
    expect(judged(kind, inputOf(kind, 'usual')).verdict).toBe('not_worse')
  })

  it('decides alone: what is worse in the metrics of the task alone passes', () => {
    const contrary = judgeGate(inputOf(kind, 'worst'), policyOf(kind), {
      distance: (y, answers) => -distanceOf(kind)(y, answers),
    })
    expect(codesOf(contrary)).not.toContain('primary_not_better')
    expect(contrary.metrics[0]).toMatchObject({ metric: 'distance', verdict: 'better' })
  })

  it('is required to beat the baseline, by a first version too', () => {
    const naive = judged(kind, inputOf(kind, 'best', { champion: null, baseline: answersOf(kind, 'best') }))
    expect(codesOf(naive)).toEqual(['baseline_not_met'])
    const first = judged(kind, inputOf(kind, 'best', { champion: null }))
    expect(first).toMatchObject({ verdict: 'better', reasons: [{ code: 'first_version' }] })
  })

  it('chooses the best recent release by itself, and is not worse than that', () => {
    const anchors = (['worst', 'best', 'usual'] as const).map((skill) => answersOf(kind, skill))
    const input = inputOf(kind, 'usual', { anchors })
    const computed = computeMetric(distanceOf(kind), 'distance', metricInputOf(input, policyOf(kind))!)
    expect(computed.anchor?.at).toBe(1)
    expect(codesOf(judged(kind, input))).toEqual(['anchor_not_met'])
    expect(judged(kind, inputOf(kind, 'usual', { anchors: [anchors[0]!] })).verdict).toBe('not_worse')
  })

  it('refuses a challenger that proves no gain where no recent release has a value', () => {
    const anchors = [answersOf(kind, 'worst'), answersOf(kind, 'worst')]
    const reportOf = (skill: Skill) => {
      const input = inputOf(kind, skill, { anchors })
      const { rows, policy } = metricInputOf(input, policyOf(kind))!
      const unknown = JSON.stringify(metricAnswers(rows, policy).anchors[0])
      const unpriced: MetricFunction = (y, answers) => {
        if (JSON.stringify(answers) === unknown) throw new Error('no price')
        return distanceOf(kind)(y, answers)
      }
      return judgeGate(input, policyOf(kind), { distance: unpriced })
    }
    expect(reportOf('usual')).toMatchObject({
      verdict: 'not_better',
      reasons: [
        { code: 'anchor_undefined', message: 'distance of each recent release threw: Error: no price' },
      ],
    })
    expect(reportOf('best').verdict).toBe('better')
  })

  it('is named with what stands in for it', () => {
    const sentence = standInText(policyOf(kind))
    expect(sentence).toContain(`by ${rowLosses[judgedLoss(policyOf(kind)).loss].name}`)
    const page = gateMarkdown(judged(kind, inputOf(kind, 'best')), {
      model: 'm',
      challenger: 'c',
      champion: 'd',
    })
    expect(page).toContain(sentence)
    expect(page).toContain('distance (primary)')
    const { primary } = taskOf(outputOf(kind)).gate
    expect(standInText(policyOf(kind, { primary, standIn: undefined }))).toBeUndefined()
    expect(primaryIsHigher(policyOf(kind))).toBe(false)
    expect(primaryIsHigher(policyOf(kind, { custom: { distance: { better: 'higher' } } }))).toBe(true)
  })

  it.each<[string, (report: GateReport) => void]>([
    ['the verdict on the metric', ({ metrics: [row] }) => void (row!.verdict = 'better')],
    [
      'its interval',
      ({ metrics: [row] }) => void ([row!.low, row!.high, row!.oneSidedLow] = [0.1, 0.3, 0.1]),
    ],
    ['its objection', (report) => void (report.reasons = [])],
    ['the verdict', (report) => void (report.verdict = 'better')],
  ])('does not pass a certificate with another value: %s', (_, change) => {
    const report = structuredClone(judged(kind, inputOf(kind, 'worst')))
    change(report)
    expect(gateIssues({ report, inputs: { leakage: {} } })).not.toEqual([])
  })
})

it('is resampled at the level that is corrected for other challengers on the same rows', () => {
  const input = inputOf('number', 'best', { search: { triedHere: 3 } })
  const report = judged('number', input)
  expect(report.policy).toMatchObject({ confidence: 0.9875, resamples: 1_600 })
  expect(report.metrics[0]).toMatchObject({ metric: 'distance', verdict: 'better' })
})

it('refuses a challenger whose champion does not answer all of its numbers, and says what to do', () => {
  const input = inputOf('numbers', 'best', {
    champion: answersOf('numbers', 'usual').map(([near]) => [near!]),
    numbers: { compared: ['near'], added: ['far'], removed: [] },
  })
  expect(judged('numbers', input)).toMatchObject({
    verdict: 'not_better',
    reasons: [
      {
        code: 'primary_undefined',
        message:
          'distance of the champion is unknown, because it does not answer far: let a metric of the task be evaluation.primary until this version is released',
      },
    ],
  })
})

describe('by simulation, of a challenger that is worse by exactly the margin', () => {
  const [worlds, count, margin] = [worldsOf(300), 300, 0.05]
  /** The cost of a decision for each positive: a ratio, and no mean of rows. */
  const cost: MetricFunction = (y, answers) => {
    let [lost, positives] = [0, 0]
    for (let row = 0; row < y.length; row++) {
      positives += y[row]!
      lost += y[row] === Math.round(Number(answers[row])) ? 0 : 1
    }
    return lost / positives
  }
  const passes = (uniform: () => number, loss: number) => {
    const y = Array.from({ length: count }, () => (uniform() < 0.5 ? 1 : 0))
    // Half of the rows are positive, so that a share of wrong decisions costs twice as much for each positive.
    const by = (share: number) => y.map((label) => [uniform() < share ? label : 1 - label])
    const base = policyOf('probability', {
      resamples: 200,
      evidence: { ...defaultGatePolicy('binary').evidence, rows: 1, positives: 1, negatives: 1 },
      custom: { cost: { better: 'lower', margin } },
      primary: 'cost',
    })
    const { verdict } = judgeGate({ y, challenger: by(0.8 - loss / 2), champion: by(0.8) }, base, {
      cost,
    }).metrics.find(({ metric }) => metric === 'cost')!
    return verdict
  }

  it.each([1, 2])(
    'at most 5 % pass, and at most 2.5 % of equal ones are called better, with the seed %i',
    (seed) => {
      const uniform = seededRandom(seed)
      const verdicts = (loss: number) => Array.from({ length: worlds }, () => passes(uniform, loss))
      const passed = verdicts(margin).filter((each) => each === 'better' || each === 'not_worse').length
      const called = verdicts(0).filter((each) => each === 'better').length
      expect(passed).toBeLessThanOrEqual(mostOf(0.05, worlds))
      expect(called).toBeLessThanOrEqual(mostOf(0.025, worlds))
    },
  )
})

it('scores a trial whose answers are outside of the limits of the label, and none without rows', () => {
  const policy = policyOf('number', {
    range: { min: 0 },
    custom: { distance: { better: 'lower', guard: true }, other: { better: 'lower', guard: true } },
  })
  const scored = scoreInputOf({ y: [1, 2], challenger: [[-1], [2]] }, policy)!
  expect(Object.keys(scored.policy.custom!)).toEqual(['distance'])
  expect(computeMetric(distanceOf('number'), 'distance', scored)).toMatchObject({
    challenger: { value: 1 },
    gains: {},
  })
  expect(scoreInputOf({ y: [], challenger: [] }, policy)).toBeUndefined()
})
