/** Compiles the `tests` of a model file: predictions that every version must make, whatever its metrics. */
import type { BehaviourTest } from '../../../domain/behaviour/behaviour-test.ts'
import type { LabelDefinition } from '../../../domain/model-definition.ts'
import type { Feature, Features } from '../../../domain/model/features.ts'
import { issuesOfRow, storedRow } from '../data/features.ts'
import { fieldNames, reportUnknown } from '../fields.ts'
import type { IssueCollector } from '../issues.ts'
import { isOfNumbers, type Output } from '../../../domain/tasks/output.ts'
import { taskOf } from '../../../domain/tasks/tasks.ts'

export interface ExactSpec {
  /** The row, with every feature. */
  row: Record<string, number | string | null | readonly number[]>
  /** The required prediction: a class; `true`, `false` or the name of true; a probability or a number; a list of quantiles. */
  answer: string | number | boolean | readonly number[]
  /** Tolerance of a number. Default: 0. */
  within?: number
}

export interface RowsOfTest {
  /** The feature to change. */
  column: string
  /** The maximum number of test rows, drawn with a fixed seed. Default: 1,000. */
  rows?: number
  /** The rows to test, as DuckDB SQL over the columns of a snapshot: `"hour >= '17'"`. Default: all rows. */
  where?: string
  /** The share of rows that may fail, in percent. Default: 0. */
  allow?: number
}

export interface InvarianceSpec extends RowsOfTest {
  /** The values to set the column to. Default: the declared values of a category. */
  to?: readonly (number | string | null)[]
  /** How far the score may move. Default: the decision must stay. Required for a numeric label. */
  within?: number
}

export interface DirectionSpec extends RowsOfTest {
  /** How much to add to the number, up to the `max` of its feature. Each value of a list is added separately. */
  by: number | readonly number[]
  /** The direction in which the score must not move: `'lower'` or `'higher'`. */
  never: 'lower' | 'higher'
  /** For `oneOf` labels, the class whose probability is tested; for `quantities`, the number that is tested. */
  of?: string
  /** How far the score may still move in that direction. Default: 0. */
  within?: number
}

export type BehaviourSpec =
  | ({ kind: 'exact'; name: string } & ExactSpec)
  | ({ kind: 'invariance'; name: string } & InvarianceSpec)
  | ({ kind: 'direction'; name: string } & DirectionSpec)

/** Requires this prediction for one row: `exact('a small flower', { row: { petalLength: 1.4, … }, answer: 'setosa' })`. */
export const exact = (name: string, spec: ExactSpec): BehaviourSpec => ({ kind: 'exact', name, ...spec })

/** Requires that changing a column does not change the prediction: `invariance('the region', { column: 'region', within: 0.02 })`. */
export const invariance = (name: string, spec: InvarianceSpec): BehaviourSpec => ({
  kind: 'invariance',
  name,
  ...spec,
})

/**
 * Requires that raising a number does not lower the score: `direction('more debt', { column: 'debt', by: [100, 1000], never: 'lower' })`.
 */
export const direction = (name: string, spec: DirectionSpec): BehaviourSpec => ({
  kind: 'direction',
  name,
  ...spec,
})

const shared = { kind: 0, name: 0, within: 0 } as const
const sampled = { column: 0, rows: 0, where: 0, allow: 0 } as const
const fields = {
  exact: fieldNames<Extract<BehaviourSpec, { kind: 'exact' }>>({ ...shared, row: 0, answer: 0 }),
  invariance: fieldNames<Extract<BehaviourSpec, { kind: 'invariance' }>>({ ...shared, ...sampled, to: 0 }),
  direction: fieldNames<Extract<BehaviourSpec, { kind: 'direction' }>>({
    ...shared,
    ...sampled,
    by: 0,
    never: 0,
    of: 0,
  }),
}
const kinds = Object.keys(fields) as BehaviourSpec['kind'][]

const isSpec = (given: unknown): given is BehaviourSpec =>
  typeof given === 'object' && given !== null && kinds.some((kind) => kind === (given as BehaviourSpec).kind)

const limits = {
  tests: 50,
  rows: 10_000,
  /** Values of `to` and of `by`. */
  values: 50,
  /** Rows times changes, over all tests. */
  answers: 200_000,
}
const defaultRows = 1_000

export function compileTests(
  report: IssueCollector,
  specs: readonly BehaviourSpec[],
  { features, label }: { features: Features; label: LabelDefinition },
): BehaviourTest[] {
  if (!Array.isArray(specs)) {
    report('tests', 'a list is required: [exact(…), invariance(…), direction(…)]')
    return []
  }
  if (specs.length > limits.tests)
    report('tests', `at most ${limits.tests} tests are allowed, not ${specs.length}`)
  const names = new Set<string>()
  const tests = specs.flatMap((spec, index): BehaviourTest[] => {
    const at = (field: string, message: string) =>
      report(`tests[${index}]${field === '' ? '' : `.${field}`}`, message)
    if (!isSpec(spec)) {
      at('', 'made with exact(), invariance() or direction()')
      return []
    }
    reportUnknown(report, `tests[${index}]`, spec, fields[spec.kind])
    if (typeof spec.name !== 'string' || spec.name.trim() === '' || spec.name.length > 100)
      at('name', 'a text of up to 100 characters is required')
    if (names.has(spec.name)) at('name', `${JSON.stringify(spec.name)} is listed twice`)
    names.add(spec.name)
    if (
      spec.within !== undefined &&
      !(typeof spec.within === 'number' && spec.within >= 0 && spec.within < Infinity)
    )
      at('within', `a finite number of at least 0 is required, not ${JSON.stringify(spec.within)}`)
    return [compileOne(spec, { at, features, output: label.output })]
  })
  const answers = tests.reduce((sum, test) => sum + answersOfTest(test), 0)
  if (answers > limits.answers)
    report(
      'tests',
      `they ask for up to ${answers} answers, limit ${limits.answers}: take fewer rows, or fewer values`,
    )
  return tests
}

interface Compiling {
  at: (field: string, message: string) => void
  features: Features
  output: Output
}

function compileOne(spec: BehaviourSpec, compiling: Compiling): BehaviourTest {
  switch (spec.kind) {
    case 'exact':
      return compileExact(spec, compiling)
    case 'invariance':
      return compileInvariance(spec, compiling)
    case 'direction':
      return compileDirection(spec, compiling)
  }
}

const answersOfTest = (test: BehaviourTest): number => {
  if (test.kind === 'exact') return 1
  return test.rows * (1 + (test.kind === 'invariance' ? test.to : test.by).length)
}

function compileExact(
  spec: Extract<BehaviourSpec, { kind: 'exact' }>,
  { at, features, output }: Compiling,
): BehaviourTest {
  const { name, row, answer, within } = spec
  if (typeof row !== 'object' || row === null) at('row', 'a row with every feature is required')
  else for (const issue of issuesOfRow(features, row)) at('row', issue)
  const issue = taskOf(output).issueOfExact(output, answer)
  if (issue !== undefined) at('answer', `${issue}, not ${JSON.stringify(answer) ?? 'nothing'}`)
  const isNumber = typeof answer === 'number' || Array.isArray(answer)
  if (within !== undefined && !isNumber) at('within', 'a tolerance is for numbers: leave it out')
  return { kind: 'exact', name, row: storedRow(row), answer, within }
}

function compileInvariance(
  spec: Extract<BehaviourSpec, { kind: 'invariance' }>,
  { at, features, output }: Compiling,
): BehaviourTest {
  const feature = columnOfTest(spec, { at, features })
  const declared = feature?.kind === 'category' ? feature.values : undefined
  const to: unknown = spec.to ?? declared ?? []
  if (spec.to === undefined && feature !== undefined && declared === undefined)
    at(
      'to',
      `the values that ${spec.column} is set to are required: [${feature.kind === 'number' ? '0, 1' : "'a', 'b'"}]`,
    )
  else if (feature !== undefined) checkValues(to, { feature, spec, at })
  if (isOfNumbers(output) && spec.within === undefined)
    at('within', 'how far the number may move is required: the label has no decision')
  const { kind, name, within } = spec
  return { kind, name, within, to: to as InvarianceSpec['to'] & object, ...sampleOfTest(spec, at) }
}

function checkValues(
  to: unknown,
  {
    feature,
    spec,
    at,
  }: { feature: Feature; spec: Extract<BehaviourSpec, { kind: 'invariance' }>; at: Compiling['at'] },
): void {
  if (!Array.isArray(to) || to.length === 0 || to.length > limits.values)
    return at('to', `a list of 1 to ${limits.values} values is required`)
  for (const value of to as unknown[]) {
    const [issue] = issuesOfRow({ [spec.column]: feature }, { [spec.column]: value })
    if (issue !== undefined) at('to', `${issue}, not ${JSON.stringify(value)}`)
  }
}

function compileDirection(
  spec: Extract<BehaviourSpec, { kind: 'direction' }>,
  { at, features, output }: Compiling,
): BehaviourTest {
  const feature = columnOfTest(spec, { at, features })
  if (feature?.kind === 'category')
    at('column', `${spec.column} is a category, which cannot be raised: use invariance(), or a number`)
  const by = typeof spec.by === 'number' ? [spec.by] : spec.by
  const isSteps =
    Array.isArray(by) &&
    by.length > 0 &&
    by.length <= limits.values &&
    by.every((step) => typeof step === 'number' && step > 0 && step < Infinity)
  if (!isSteps)
    at('by', `a number above 0, or a list of them, is required, not ${JSON.stringify(spec.by) ?? 'nothing'}`)
  if (spec.never !== 'lower' && spec.never !== 'higher')
    at('never', `'lower' or 'higher' is required, not ${JSON.stringify(spec.never) ?? 'nothing'}`)
  const meant = taskOf(output).issueOfMeant(output, spec.of)
  if (meant !== undefined) at('of', meant)
  const { kind, name, never, of, within } = spec
  return { kind, name, never, of, within, by: isSteps ? by : [], ...sampleOfTest(spec, at) }
}

function columnOfTest(
  { column }: RowsOfTest,
  { at, features }: Pick<Compiling, 'at' | 'features'>,
): Feature | undefined {
  if (typeof column === 'string' && Object.hasOwn(features, column)) return features[column]
  at(
    'column',
    `${JSON.stringify(column) ?? 'nothing'} is not a feature: the features are ${Object.keys(features).join(', ')}`,
  )
  return undefined
}

function sampleOfTest({ column, rows = defaultRows, where, allow = 0 }: RowsOfTest, at: Compiling['at']) {
  if (!(Number.isInteger(rows) && rows >= 1 && rows <= limits.rows))
    at('rows', `a whole number from 1 to ${limits.rows} is required, not ${JSON.stringify(rows)}`)
  if (where !== undefined && (typeof where !== 'string' || where.trim() === ''))
    at('where', `DuckDB SQL such as "hour >= '17'" is required`)
  if (!(typeof allow === 'number' && allow >= 0 && allow < 100))
    at('allow', `a percentage from 0 to below 100 is required, not ${JSON.stringify(allow)}`)
  return { column, rows, where, share: allow / 100 }
}
