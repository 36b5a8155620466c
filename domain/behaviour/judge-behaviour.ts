/** Judges a behaviour test by the answers to its rows. An answer that could not be computed is neither a pass nor a failure. */
import { fourDigits, groupedDigits, percentText } from '../figures.ts'
import type { FeatureRow } from '../model/features.ts'
import { shown } from '../postgres-text.ts'
import type { Reason } from '../verdict.ts'
import type {
  BehaviourExample,
  BehaviourResult,
  BehaviourRow,
  BehaviourTest,
  DirectionTest,
  ExactTest,
  InvarianceTest,
} from './behaviour-test.ts'
import type { Probes } from './probes.ts'
import type { Output } from '../tasks/output.ts'
import { decisionNames, decisionOf, taskOf, thresholdOf } from '../tasks/tasks.ts'
import { outputNames } from '@tenure/predictors/features'

export interface AskedProbes {
  probes: Probes
  /** The output of the version that answered. */
  output: Output
  /** The answer to each of `probes.rows`; undefined when it is missing. */
  answerAt: (row: number) => readonly number[] | undefined
  /** Whether examples may show the features of a row. */
  showsRows: boolean
}

export const notComputed = (why: string, rows = 0): BehaviourResult => ({
  verdict: 'not_computed',
  message: `could not be computed: ${why}`,
  rows,
  failed: 0,
  examples: [],
})

export function judgeBehaviour(test: BehaviourTest, asked: AskedProbes): BehaviourResult {
  const { probes, answerAt } = asked
  if (probes.rows.length === 0) return notComputed(noRows(test))
  if (test.kind !== 'exact') return judgeChanges(test, asked)
  const answer = answerAt(0)
  if (!isComplete(answer)) return notComputed('the answer is not a finite number', 1)
  return judgeExact(test, answer, asked.output)
}

const noRows = (test: BehaviourTest): string =>
  test.kind === 'exact'
    ? 'it has no row'
    : `no test row${test.where === undefined ? '' : ` with ${test.where}`} has a ${test.column} that can be changed`

/** The decision as responses name it; undefined for numbers. */
function nameOfDecision(output: Output, answer: readonly number[]): string | undefined {
  const decision = decisionOf(output, answer)
  return decision === undefined ? undefined : decisionNames(output)[decision]
}

/** The numbers that a test compares; undefined when the version lacks the class. */
function scoresOf(output: Output, answer: readonly number[], of?: string): readonly number[] | undefined {
  const names = outputNames(output)
  if (names.length === 0) return [answer.at(-1)!]
  if (of === undefined) return answer
  const place = names.indexOf(of)
  return place < 0 ? undefined : [answer[place]!]
}

const isComplete = (answer: readonly number[] | undefined): answer is readonly number[] =>
  answer !== undefined && answer.length > 0 && answer.every(Number.isFinite)

function answerText(output: Output, answer: readonly number[]): string {
  const decision = nameOfDecision(output, answer)
  if (decision === undefined) return answer.map((value) => fourDigits(value)).join(', ')
  const score = answer[taskOf(output).place(output, answer)]!
  return `${decision} (${fourDigits(score)})`
}

function judgeExact(
  { answer: expected, within = 0, row }: ExactTest,
  answer: readonly number[],
  output: Output,
): BehaviourResult {
  const given = answerText(output, answer)
  const tolerance = within > 0 ? ` ± ${within}` : ''
  let holds: boolean
  let required: string
  if (typeof expected === 'string' || typeof expected === 'boolean') {
    const name = typeof expected === 'boolean' ? positiveOrNot(output, expected) : expected
    if (name === undefined || nameOfDecision(output, answer) === undefined)
      return notComputed(`this version answers ${output.kind}, not ${JSON.stringify(expected)}`, 1)
    holds = nameOfDecision(output, answer) === name
    required = name
  } else {
    const numbers = typeof expected === 'number' ? [expected] : expected
    const scores = scoresOf(output, answer) ?? []
    if (scores.length !== numbers.length)
      return notComputed(`this version answers ${scores.length} numbers, not ${numbers.length}`, 1)
    holds = numbers.every((number, at) => Math.abs(scores[at]! - number) <= within + slack(number))
    required = `${numbers.join(', ')}${tolerance}`
  }
  if (holds) return { verdict: 'pass', message: `answers ${given}`, rows: 1, failed: 0, examples: [] }
  const message = `answers ${given}, ${required} required`
  return {
    verdict: 'fail',
    message,
    rows: 1,
    failed: 1,
    examples: [{ row: shownRow(row), before: required, after: given }],
  }
}

const positiveOrNot = (output: Output, yes: boolean): string | undefined =>
  thresholdOf(output) === undefined ? undefined : decisionNames(output)[Number(yes)]

/** Tolerance of a comparison; predictors compute in 32 bits. */
const slack = (value: number): number => 1e-6 * Math.max(1, Math.abs(value))

interface Breach {
  before: readonly number[]
  after: readonly number[]
  /** How far the score moved against the test. */
  moved: number
  at: Probes['changed'][number]
}

function judgeChanges(test: InvarianceTest | DirectionTest, asked: AskedProbes): BehaviourResult {
  const { probes, output, answerAt, showsRows } = asked
  const worst = new Map<number, Breach>()
  let unread: number | undefined
  for (const each of probes.changed) {
    const [before, after] = [answerAt(each.before), answerAt(each.after)]
    if (!isComplete(before) || !isComplete(after)) {
      unread ??= each.place
      continue
    }
    const [from, to] = [scoresOf(output, before, of(test)), scoresOf(output, after, of(test))]
    if (from === undefined || to === undefined)
      return notComputed(`this version has no class ${String(of(test))}`)
    const moved = test.kind === 'invariance' ? largestMove(from, to) : largestFall(from, to, test.never)
    if (!breaks(test, { output, before, after, from, moved })) continue
    const known = worst.get(each.before)
    if (known === undefined || known.moved < moved) worst.set(each.before, { before, after, moved, at: each })
  }
  const rows = probes.sampled
  const failed = worst.size
  const breaches = [...worst.values()].toSorted((a, b) => b.moved - a.moved)
  // Unanswered rows decide nothing, unless the failed rows already exceed the allowed share.
  if (failed <= test.share * rows) {
    if (unread !== undefined) {
      return notComputed(
        `the answer to test row ${unread}, or to it with another ${test.column}, is not a finite number`,
        rows,
      )
    }
    return { verdict: 'pass', message: passText(test, { rows, failed }), rows, failed, examples: [] }
  }
  const example = ({ before, after, at }: Breach): BehaviourExample => ({
    place: at.place,
    row: showsRows ? shownRow(probes.rows[at.before]!) : undefined,
    change: shown(at.change),
    before: answerText(output, before),
    after: answerText(output, after),
  })
  const examples = breaches.slice(0, maxExamples).map(example)
  return {
    verdict: 'fail',
    message: failText(test, { rows, failed, worst: examples[0]! }),
    rows,
    failed,
    examples,
  }
}

const maxExamples = 3
const of = (test: InvarianceTest | DirectionTest) => (test.kind === 'direction' ? test.of : undefined)

const largestMove = (from: readonly number[], to: readonly number[]): number =>
  from.reduce((most, value, at) => Math.max(most, Math.abs(to[at]! - value)), 0)

const largestFall = (from: readonly number[], to: readonly number[], never: DirectionTest['never']): number =>
  from.reduce((most, value, at) => Math.max(most, never === 'lower' ? value - to[at]! : to[at]! - value), 0)

function breaks(
  test: InvarianceTest | DirectionTest,
  {
    output,
    before,
    after,
    from,
    moved,
  }: {
    output: Output
    before: readonly number[]
    after: readonly number[]
    from: readonly number[]
    moved: number
  },
): boolean {
  if (test.kind === 'invariance' && test.within === undefined && nameOfDecision(output, before) !== undefined)
    return nameOfDecision(output, before) !== nameOfDecision(output, after)
  return (
    moved >
    (test.within ?? 0) +
      slack(
        largestMove(
          from.map(() => 0),
          from,
        ),
      )
  )
}

const changeText = (test: InvarianceTest | DirectionTest): string =>
  test.kind === 'invariance' ? `another ${test.column}` : `${test.column} raised by ${test.by.join(' or ')}`

function effectText(test: InvarianceTest | DirectionTest): string {
  const more = test.within === undefined ? '' : ` by more than ${test.within}`
  if (test.kind === 'invariance')
    return test.within === undefined ? 'changes the decision' : `moves the score${more}`
  const score = test.of === undefined ? 'the score' : `the probability of ${test.of}`
  return `${test.never === 'lower' ? 'lowers' : 'raises'} ${score}${more}`
}

const allowedText = ({ share }: { share: number }): string =>
  share === 0 ? '' : `, ${percentText(share)} allowed`

function passText(
  test: InvarianceTest | DirectionTest,
  { rows, failed }: { rows: number; failed: number },
): string {
  return `${changeText(test)} ${effectText(test)} in ${failed === 0 ? 'none' : groupedDigits(failed)} of ${groupedDigits(rows)} rows${allowedText(test)}`
}

function failText(
  test: InvarianceTest | DirectionTest,
  { rows, failed, worst }: { rows: number; failed: number; worst: BehaviourExample },
): string {
  return `${passText(test, { rows, failed })}; worst in test row ${worst.place}: ${worst.change} gives ${worst.after} instead of ${worst.before}`
}

/** An example shows at most this many features. */
const maxShownFeatures = 40

const shownRow = (row: FeatureRow): FeatureRow =>
  Object.fromEntries(
    Object.entries(row)
      .slice(0, maxShownFeatures)
      .map(([name, value]) => [name, typeof value === 'string' ? shown(value) : value]),
  )

/** Why failed tests stop the challenger. */
export const failedTestReasons = (tests: readonly BehaviourRow[]): Reason[] =>
  tests
    .filter(({ challenger }) => challenger.verdict === 'fail')
    .map((row) => reasonOf(row, 'test_failed', 'fails'))

/** Why a user must decide: tests that could not be computed. */
export const openTestReasons = (tests: readonly BehaviourRow[]): Reason[] =>
  tests
    .filter(({ challenger }) => challenger.verdict === 'not_computed')
    .map((row) => reasonOf(row, 'test_not_computed', ''))

function reasonOf({ name, challenger, champion }: BehaviourRow, code: string, verb: string): Reason {
  const { message, rows, failed } = challenger
  const beside = champion === undefined ? '' : `; the champion ${championText[champion.verdict]}`
  const how = verb === '' ? ` ${message}` : ` ${verb}: ${message}`
  return { code, message: `the test "${name}"${how}${beside}`, values: { test: name, rows, failed } }
}

const championText = {
  pass: 'passes it',
  fail: 'fails it too',
  not_computed: 'could not be tested either',
} as const
