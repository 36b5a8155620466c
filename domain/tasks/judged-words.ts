/**
 * Declares what each stage judges a task by, and which words of a model file cannot judge it. The check of model files and the start of a
 * release read this list, and docs/reference/judges.md shows it, so that nothing can be declared that is never decided.
 */
import type { Output } from './output.ts'
import type { FairnessLimit } from '../evaluation/gate-metrics.ts'
import type { Task } from './task.ts'
import { builtInPrimary, defaultGatePolicy, hasCustomPrimary, type GatePolicy } from '../evaluation/policy.ts'
import { metricName } from '../figures.ts'
import { judgedLoss, lossText, rowLosses } from './losses.ts'
import { taskOf } from './tasks.ts'

/** What is judged, or why the word is refused and what to write instead. */
export type Judged = { by: string } | { refused: string }

/** What a model file or a policy declares. */
export interface Declared {
  evaluation?: {
    fairness?: Partial<Record<FairnessLimit, number>>
    calibration?: unknown
    top?: number
    baseline?: string
  }
  release?: { ab?: { metric: string }; limits: { nonInferiority?: unknown } }
}

export interface JudgedWord {
  /** The stages that it decides in. */
  stage: string
  /** As a model file writes it; in parentheses what needs no word. */
  word: string
  of: (task: Task<Output>) => Judged
  /** The field that declares it. Absent where it is always judged, or refuses nothing. */
  field?: string
  isDeclared?: (by: Declared) => boolean
}

const always = (by: string) => (): Judged => ({ by })
const names = (of: readonly string[]): Judged => ({ by: of.map((each) => `\`${each}\``).join(', ') })
/** The loss of the default primary metric. */
const judgedBy = ({ gate }: Task<Output>): Judged => {
  const { loss } = judgedLoss(defaultGatePolicy(gate.name))
  return { by: `the loss of the primary metric ([by default](#one-loss) ${rowLosses[loss].name})` }
}
const isAb =
  (metric: string): NonNullable<JudgedWord['isDeclared']> =>
  ({ release }) =>
    release?.ab?.metric === metric

/** A limit of fairness; where a task has nothing for it to compare, with those that would do. */
const fairnessWord = (limit: FairnessLimit, why: string): JudgedWord => ({
  stage: 'gate, after the probation',
  word: `\`fairness.${limit}\``,
  of: ({ gate }) => {
    const by = gate.fairness[limit]
    const others = Object.keys(gate.fairness).map((each) => `\`${each}\``)
    return by === undefined ? { refused: `${why}: write ${others.join(' or ')}` } : { by }
  },
  field: `evaluation.fairness.${limit}`,
  isDeclared: ({ evaluation }) => evaluation?.fairness?.[limit] !== undefined,
})

export const judgedWords = {
  metrics: {
    stage: 'gate',
    word: '`evaluation.primary`, `floors`, `guards`',
    of: ({ gate }) => names(gate.metrics),
  },
  slices: { stage: 'gate', word: '`evaluation.slices`', of: ({ gate }) => names(gate.sliceMetrics) },
  groups: {
    stage: 'gate, after the probation',
    word: '`evaluation.groups`',
    of: ({ gate }) => ({ by: Object.values(gate.fairness).join('; ') }),
  },
  selectionRatio: fairnessWord('selectionRatio', 'no answer selects or names a class'),
  rateDifference: fairnessWord('rateDifference', 'an answer has an error and is not right or wrong'),
  errorDifference: fairnessWord('errorDifference', 'an answer is right or wrong and has no error'),
  calibration: {
    stage: 'gate',
    word: '`evaluation.calibration`',
    of: ({ gate }) =>
      gate.classes(2) > 0
        ? { by: 'expected calibration error' }
        : { refused: 'no answer is a probability: leave it out' },
    field: 'evaluation.calibration',
    isDeclared: ({ evaluation }) => (evaluation?.calibration ?? 'off') !== 'off',
  },
  baseline: {
    stage: 'gate',
    word: '`evaluation.baseline`',
    of: ({ gate }) =>
      gate.baselineIssue === undefined ? { by: 'the column as an answer' } : { refused: gate.baselineIssue },
    field: 'evaluation.baseline',
    isDeclared: ({ evaluation }) => evaluation?.baseline !== undefined,
  },
  top: {
    stage: 'gate',
    word: '`evaluation.top`',
    of: ({ gate }) =>
      gate.metrics.includes('recallAtTop')
        ? { by: '`recallAtTop`, `precisionAtTop`' }
        : { refused: 'only a yesNo label has rows that are looked at first: leave it out' },
    field: 'evaluation.top',
    isDeclared: ({ evaluation }) => evaluation?.top !== undefined,
  },
  rates: {
    stage: 'shadow, targeted, canary, A/B, probation',
    word: '(errors, invalid outputs, slow answers)',
    of: always('requests'),
  },
  disagreement: {
    stage: 'shadow',
    word: '`limits.disagreement`',
    of: ({ decides }) => ({ by: decides ? 'changed decisions' : 'distance of the numbers' }),
  },
  paired: {
    stage: 'shadow, reverse shadow of a probation',
    word: '(paired quality)',
    of: judgedBy,
  },
  nonInferiority: {
    stage: 'last stage, by the pairs of the shadow',
    word: '`limits.nonInferiority`',
    of: judgedBy,
  },
  scoreShift: {
    stage: 'canary, A/B, probation',
    word: '`limits.scoreShift`',
    of: ({ decides }) => ({ by: decides ? 'shares of the decisions' : 'shares of four ranges' }),
  },
  accuracy: {
    stage: 'A/B',
    word: "`metric: 'accuracy'`",
    of: ({ decides }) =>
      decides
        ? { by: 'wrong decisions' }
        : { refused: "a number is not right or wrong: write `metric: 'loss'`" },
    field: 'ab.metric',
    isDeclared: isAb('accuracy'),
  },
  loss: { stage: 'A/B', word: "`metric: 'loss'`", of: judgedBy },
  conversions: {
    stage: 'A/B',
    word: "`metric: 'conversions'`",
    of: ({ gate }) =>
      gate.hasPositives
        ? { by: 'outcomes that are yes' }
        : { refused: "no outcome is yes or no: write `metric: 'loss'`, or a metric of `business`" },
    field: 'ab.metric',
    isDeclared: isAb('conversions'),
  },
  errors: { stage: 'A/B', word: "`metric: 'errors'`", of: always('failed requests') },
  business: { stage: 'canary, A/B, probation', word: '`business`', of: always('events of users') },
  external: { stage: 'canary, A/B, probation', word: '`external`', of: always('values of other systems') },
  holdback: { stage: 'probation', word: '(holdback)', of: judgedBy },
  quality: {
    stage: 'after the probation',
    word: '`monitor.quality`',
    of: always('the primary metric, or the metric of the task that stands in for a custom one'),
  },
  qualityMetrics: {
    stage: 'after the probation',
    word: '`monitor.quality.metrics`',
    of: ({ gate }) => names(gate.metrics),
  },
} satisfies Record<string, JudgedWord>

export type JudgedWordName = keyof typeof judgedWords

/** Why what is declared could never be decided, each with its field; empty when all of it can. */
export function issuesOfWords(declared: Declared, output: Output): { field: string; message: string }[] {
  const task = taskOf(output)
  return Object.values<JudgedWord>(judgedWords).flatMap(({ field, isDeclared, of }) => {
    if (field === undefined || isDeclared?.(declared) !== true) return []
    const judged = of(task)
    return 'refused' in judged ? [{ field, message: judged.refused.replaceAll('`', '') }] : []
  })
}

/** What judges where a custom primary metric cannot; undefined where the primary metric is one of the task. */
export function standInText(policy: GatePolicy): string | undefined {
  if (!hasCustomPrimary(policy)) return undefined
  return `${policy.primary} is a function of the model file, which runs in the gate and in sweeps only: ${metricName(builtInPrimary(policy))} stands in for it in windows of the monitor, slices and the importance of features, and shadow, A/B test and probation judge outcomes by ${rowLosses[judgedLoss(policy).loss].name}`
}

/** By which loss the stages of a release judge outcomes, and for which primary metric it stands in. */
export const stagesText = (policy: GatePolicy): string =>
  standInText(policy) ?? `Stages judge outcomes by ${lossText(judgedLoss(policy))}`
