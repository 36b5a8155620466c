/**
 * Tests the table of what each stage judges each task by: what it refuses, the check of model files refuses with what to write instead, and
 * what it promises of the gate and of the answers decides. test/activities/release/judged-words.test.ts has the cells that read outcomes.
 */
import { describe, expect, it } from 'vitest'
import { incrementalJudge } from '../../../domain/canary/incremental-judge.ts'
import { defaultCanaryPolicy } from '../../../domain/canary/policy.ts'
import { judgeGate, type GateReport } from '../../../domain/evaluation/gate.ts'
import type { GateFairnessRow } from '../../../domain/evaluation/fairness.ts'
import { score } from '../../../domain/evaluation/metrics.ts'
import { judgeBreakdown } from '../../../domain/monitoring/slice-metrics.ts'
import type { GateMetric } from '../../../domain/evaluation/gate-metrics.ts'
import type { GateInput } from '../../../domain/evaluation/input.ts'
import { defaultGatePolicy, sliceMetricFor, type GatePolicy } from '../../../domain/evaluation/policy.ts'
import { truthOf } from '../../../domain/model/outcome.ts'
import { issuesOfPolicy } from '../../../domain/release/policy.ts'
import { judgedWords, type JudgedWord, type JudgedWordName } from '../../../domain/tasks/judged-words.ts'
import type { OutputKind } from '../../../domain/tasks/output.ts'
import { answerBins, answerCounter, taskOf } from '../../../domain/tasks/tasks.ts'
import { collectIssues } from '../../../models/define/issues.ts'
import { ab, canary, percent, shadow } from '../../../models/define.ts'
import { compileEvaluation, type EvaluationSpec } from '../../../models/define/evaluation.ts'
import { compileRelease, type ReleaseSpec } from '../../../models/define/release.ts'
import { gateIssues } from '../../../domain/release/certificate.ts'
import { hotfixPolicy } from '../../../domain/release/derived-policy.ts'
import { answeringKinds, answeringModels, outputOf, skills } from '../../support/tasks/answering.ts'

const words = Object.keys(judgedWords) as JudgedWordName[]
const judgedOf = (word: JudgedWordName, kind: OutputKind) =>
  (judgedWords[word] as JudgedWord).of(taskOf(outputOf(kind)))
const cells = (isDecided: boolean) =>
  words.flatMap((word) =>
    answeringKinds.flatMap((kind) =>
      'by' in judgedOf(word, kind) === isDecided ? [[word, kind] as const] : [],
    ),
  )

/** How a model file declares each word that has one of its own. */
const split = percent(50, { soak: '1 d', deadline: '14 d' })
const declared: Partial<
  Record<JudgedWordName, { evaluation?: Partial<EvaluationSpec>; release?: ReleaseSpec }>
> = {
  groups: { evaluation: { groups: ['site'] } },
  selectionRatio: { evaluation: { fairness: { selectionRatio: 0.9 } } },
  rateDifference: { evaluation: { fairness: { rateDifference: 0.2 } } },
  errorDifference: { evaluation: { fairness: { errorDifference: 0.2 } } },
  calibration: { evaluation: { calibration: { ece: 0.05, overChampion: 0.02 } } },
  baseline: { evaluation: { baseline: 'last' } },
  top: { evaluation: { top: 0.1 } },
  nonInferiority: {
    release: shadow({
      shadow: percent(20),
      whenPassed: 'promote',
      limits: { nonInferiority: { margin: 0.02, logE: 3 } },
    }),
  },
  accuracy: { release: ab({ split, metric: 'accuracy' }) },
  loss: { release: ab({ split, metric: 'loss' }) },
  conversions: { release: ab({ split, metric: 'conversions' }) },
  errors: { release: ab({ split, metric: 'errors' }) },
}

function issuesOf(word: JudgedWordName, kind: OutputKind): string[] {
  const { report, issues } = collectIssues()
  const { evaluation, release } = declared[word] ?? {}
  const { label } = answeringModels[kind]
  const { gate } = taskOf(label.output)
  const spec = { floors: { [gate.primary]: 0.5 }, ...evaluation }
  compileEvaluation(report, spec, label)
  compileRelease(report, release ?? canary({ stages: [percent(5)] }), undefined, { output: label.output })
  return issues
}

it('has words that are refused, for every task', () => {
  expect(new Set(cells(false).map(([, kind]) => kind)).size).toBe(answeringKinds.length)
  for (const word of words.filter((each) => 'isDeclared' in judgedWords[each]))
    expect(declared[word], word).toBeDefined()
})

it.each(cells(false))('the word %s of %s is refused with what to write instead', (word, kind) => {
  const found = issuesOf(word, kind)
  expect(found).toHaveLength(1)
  expect(found[0]).toMatch(/: (write|compare|leave)|leave it out/)
})

it.each(cells(true))('the word %s of %s is accepted', (word, kind) => {
  expect(issuesOf(word, kind)).toEqual([])
})

it('a proof of pairs is refused without a shadow, and a hotfix needs none', () => {
  const limits = { nonInferiority: { margin: 0.02, logE: 3 } }
  const { report, issues } = collectIssues()
  compileRelease(report, canary({ stages: [percent(5)], shadow: 'off', limits }))
  expect(issues.join()).toContain(
    'limits.nonInferiority needs requests that both versions answer: add a shadow',
  )
  const policy = compileRelease(
    report,
    canary({ stages: [percent(5)], limits, hotfix: { stages: [percent(50)] } }),
  )
  expect(issuesOfPolicy(policy)).toEqual([])
  expect(issuesOfPolicy(hotfixPolicy(policy))).toEqual([])
})

const rows = 2_000
const at = Array.from({ length: rows }, (_, i) => i)
const input = (kind: OutputKind, skill: keyof typeof skills = 'best'): GateInput => {
  const { outcome, answer, label } = answeringModels[kind]
  const answers = (by: keyof typeof skills) => at.map((i) => answer(i, skills[by](i)))
  return {
    y: at.flatMap((i) => truthOf(outcome(i), label.output)!),
    challenger: answers(skill),
    champion: answers('usual'),
  }
}
const gatePolicy = (kind: OutputKind, more: Partial<GatePolicy> = {}): GatePolicy => {
  const output = outputOf(kind)
  const { gate, facts } = taskOf(output)
  return { ...defaultGatePolicy(gate.name), resamples: 60, calibration: 'off', ...facts(output), ...more }
}
/** The report of the gate, from whose tables its verdict follows again, as a certificate has it. */
const judged = (...asked: Parameters<typeof judgeGate>): GateReport => {
  const report = judgeGate(...asked)
  const read = JSON.parse(JSON.stringify(report)) as GateReport
  expect(gateIssues({ report: read, inputs: { leakage: {} } })).toEqual([])
  return report
}
const judgeGateBy = (kind: OutputKind, metric: GateMetric, skill: keyof typeof skills) =>
  judged(
    input(kind, skill),
    gatePolicy(kind, {
      primary: metric,
      slices: {
        ...defaultGatePolicy(taskOf(outputOf(kind)).gate.name).slices,
        metric: sliceMetricFor(taskOf(outputOf(kind)).gate.name, metric),
      },
    }),
  ).metrics.find((each) => each.metric === metric)?.verdict

/** The rows of one group. In each, as many rows are right by each skill. */
const isOther = (i: number) => Math.floor(i / 4) % 2 === 1
/** What the gate finds between two groups; a window of outcomes must find the same. */
function fairnessOf(kind: OutputKind, answer: (i: number) => number[]): GateFairnessRow {
  const { label } = answeringModels[kind]
  const policy = gatePolicy(kind)
  const groups = [{ attribute: 'site', values: at.map((i) => (isOther(i) ? 'b' : 'a')) }]
  const challenger = at.map(answer)
  const classes = taskOf(label.output).decides?.names(label.output)
  const { y } = input(kind)
  const [row] = judged({ y, challenger, champion: null, groups, classes }, policy).fairness
  const { fairness, findings } = judgeBreakdown(
    {
      scored: score(policy.task, y, challenger, policy),
      routingKeys: at.map(String),
      classes,
      slices: [],
      groups,
      baseline: { slices: {}, ece: null },
    },
    policy,
  )
  expect(fairness[0]!.verdict).toBe(row!.verdict)
  expect(findings.map(({ code }) => code)).toEqual(row!.verdict === 'blocked' ? ['quality_fairness'] : [])
  return row!
}

describe('the gate', () => {
  const metrics = new Set(answeringKinds.flatMap((kind) => taskOf(outputOf(kind)).gate.metrics))
  const all = answeringKinds.flatMap((kind) => Array.from(metrics, (metric) => [metric, kind] as const))
  const isOf = ([metric, kind]: readonly [GateMetric, OutputKind]) =>
    taskOf(outputOf(kind)).gate.metrics.includes(metric)

  it.each(all.filter(isOf))('decides by %s of %s', (metric, kind) => {
    expect(judgeGateBy(kind, metric, 'best')).toBe('better')
    expect(['worse', 'not_better']).toContain(judgeGateBy(kind, metric, 'worst'))
  })

  it.each(all.filter((cell) => !isOf(cell)))(
    'refuses %s of %s with the metrics of the task',
    (metric, kind) => {
      const { report, issues } = collectIssues()
      compileEvaluation(
        report,
        { primary: metric, floors: { [taskOf(outputOf(kind)).gate.primary]: 0.5 } },
        answeringModels[kind].label,
      )
      expect(issues.join()).toContain(
        `has the metrics ${taskOf(outputOf(kind)).gate.metrics.join(', ')}, not ${metric}`,
      )
    },
  )

  it.each(
    answeringKinds.flatMap((kind) =>
      taskOf(outputOf(kind)).gate.sliceMetrics.map((metric) => [metric, kind] as const),
    ),
  )('decides by %s of a slice of %s', (metric, kind) => {
    const base = gatePolicy(kind)
    const { slices } = judged(
      { ...input(kind, 'worst'), slices: [{ name: 'third', rows: at.filter((i) => i % 3 === 0) }] },
      { ...base, slices: { ...base.slices, metric } },
    )
    expect(slices.some(({ verdict }) => verdict === 'blocked')).toBe(true)
  })

  const limits = ['selectionRatio', 'rateDifference', 'errorDifference'] as const
  const measures = answeringKinds.flatMap((kind) =>
    fairnessOf(kind, (i) => answeringModels[kind].answer(i, true)).measures.map(
      ({ name, limit }) => [name, limit, kind] as const,
    ),
  )

  it.each(measures)('finds a group that is treated worse by %s (%s) of %s', (name, limit, kind) => {
    const { answer } = answeringModels[kind]
    // Wrong answers, and the same answer to all rows of the group: one of some that differ.
    const worse = [(i: number) => answer(i, false), ...[0, 1, 2].map((row) => () => answer(row, true))]
    const found = worse.map((other) => fairnessOf(kind, (i) => (isOther(i) ? other(i) : answer(i, true))))
    const verdicts = found.map((each) => each.measures.find((measure) => measure.name === name)!.verdict)
    expect(verdicts).toContain('blocked')
    expect('by' in judgedOf(limit, kind)).toBe(true)
    const equal = fairnessOf(kind, (i) => answer(i, skills.usual(i)))
    expect(equal.measures.find((measure) => measure.name === name)!.verdict).toBe('ok')
  })

  it.each(cells(true).filter(([word]) => limits.some((limit) => limit === word)))(
    'compares something by %s of %s',
    (word, kind) => expect(measures.some(([, limit, of]) => limit === word && of === kind)).toBe(true),
  )

  it.each(cells(true).filter(([word]) => word === 'calibration'))('decides by %s of %s', (_word, kind) => {
    const { calibration } = judged(
      input(kind, 'worst'),
      gatePolicy(kind, { calibration: { ece: 0.05, overChampion: 0.02 } }),
    )
    expect(calibration?.verdict).toBe('blocked')
  })
})

it.each(cells(true).filter(([word]) => word === 'scoreShift'))(
  'the answers of %s of %s decide',
  (_word, kind) => {
    const { profile, answer, outcome } = answeringModels[kind]
    const output = outputOf(kind)
    const bins = answerBins(output, profile)!
    const countOf = (row: (i: number) => number[]) => {
      const counter = answerCounter(bins, output)!
      const counts = bins.names.map(() => 0)
      for (const i of at) counter(counts, Float32Array.from(row(i)), 0)
      return counts
    }
    const arm = (answers: readonly number[]) => ({
      requests: rows,
      errors: 0,
      invalid: 0,
      slow95: 0,
      slow99: 0,
      keys: rows,
      answers,
    })
    const judge = incrementalJudge(defaultCanaryPolicy, bins.perAnswer)
    judge.add({
      startMs: 0,
      shareBp: 5_000,
      canary: arm(countOf(() => answer(0, true))),
      control: arm(countOf((i) => answer(i, true))),
    })
    const stage = {
      index: 0,
      shareBp: 5_000,
      startedMs: 0,
      elapsedMs: 1,
      minMs: 1,
      minRequests: 1,
      last: false,
    }
    const { kind: verdict, reasons } = judge.judge({ stage, staleMs: 0, answerNames: bins.names })
    expect([verdict, reasons[0]?.code, outcome(0) !== undefined]).toEqual([
      'inconclusive',
      'score_shift',
      true,
    ])
  },
)
