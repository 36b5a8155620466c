/** Renders the report of the gate as Markdown: the verdict in one sentence, the reasons, and every figure. */
import type { BehaviourRow } from '../behaviour/behaviour-test.ts'
import { fairnessText, type Estimate, type GateFairnessRow } from './fairness.ts'
import { classMetrics } from '../metrics/class-figures.ts'
import { beside, compressionText, fidelityLine, type GateCompression } from './compression.ts'
import { searchText } from './slice-search.ts'
import { worstSlicesFirst } from './slices.ts'
import { isGuard, challengerText, type GateMetricRow } from './metric-table.ts'
import { gateVerdictText, metricVerdictText, sliceVerdictText } from './verdict-words.ts'
import type { GateReport } from './gate.ts'
import {
  capitalized,
  gainText,
  groupedDigits,
  levelPercent,
  metricName,
  metricText,
  numberText,
  percentText,
  pValueText,
} from '../figures.ts'
import { coveredShare } from '../metrics/level-shares.ts'
import { code, joinMarkdown, markup, titledTable, type Markdown } from '../markdown.ts'
import type { Reason } from '../verdict.ts'
import { stagesText } from '../tasks/judged-words.ts'
import { gateOf } from '../tasks/tasks.ts'

export interface ReportSubject {
  model: string
  /** The version of the challenger, or its name before it has a version. */
  challenger: string
  /** The version of the live champion; absent for the first version of a model. */
  champion?: string
  /** The time as of which the data was known. */
  asOf?: string
  /** The digest of the snapshot. */
  snapshot?: string
}

/** Markdown with one table per part; empty parts are omitted. */
export function gateMarkdown(report: GateReport, subject: ReportSubject): string {
  const { policy } = report
  const percent = levelPercent(policy.confidence)
  const parts = [
    markup`# ${subject.model}: ${subject.challenger}, ${gateVerdictText(report.verdict, { isFirst: subject.champion === undefined })}`,
    summary(report, subject),
    list('Reasons', report.reasons),
    list('Other checks', report.warnings),
    ...compressionTables(report.compression),
    metricTable(report, percent),
    levelTable(report),
    classTable(report),
    sliceTable(report),
    searchTable(report),
    calibrationTable(report),
    ...report.fairness.map((row) => fairnessTable(row)),
    testTable(report.tests ?? []),
    importanceTable(report.importance),
    decided(report, subject),
  ]
  return `${joinMarkdown(parts, '\n\n').markdown}\n`
}

function summary({ verdict, needsPerson, rows, positives }: GateReport, subject: ReportSubject): Markdown {
  const against =
    subject.champion === undefined ? 'its floors and the baseline' : markup`**${subject.champion}**`
  const on = `${groupedDigits(rows)} test rows${positives === null ? '' : ` (${groupedDigits(positives)} positives)`}`
  const next = needsPerson
    ? 'It needs a check by a user.'
    : verdict === 'better' || verdict === 'not_worse'
      ? 'It may be released.'
      : 'It is not released.'
  return markup`**${subject.challenger}** was evaluated against ${against} on ${on}. ${next}`
}

function list(title: string, reasons: readonly Reason[]): Markdown {
  if (reasons.length === 0) return markup``
  const lines = reasons.map((reason) => markup`- ${reason.message} (${code(reason.code)})`)
  return markup`## ${title}\n\n${joinMarkdown(lines, '\n')}`
}

function compressionTables(compression: GateCompression | undefined): Markdown[] {
  if (compression === undefined) return []
  const { fidelity } = compression
  const table = titledTable(
    markup`## Beside its parent ${compression.version}\n\n${capitalized(compressionText(compression))}.`,
    ['', 'parent', 'this version', 'times better'],
    beside(compression),
  )
  const worst =
    fidelity.worst.length === 0
      ? markup``
      : titledTable(
          markup`The rows with the largest differences`,
          ['row', 'parent', 'this version', 'distance', 'decision'],
          fidelity.worst.map(({ index, request, parent, child, difference, isFlipped, refused }) => [
            request === undefined ? `test row ${index}` : `request ${request}`,
            parent.map((value) => numberText(value)).join(', '),
            [
              ...child.map((value) => numberText(value)),
              ...(refused === undefined ? [] : [`refused: ${refused}`]),
            ].join(', '),
            numberText(difference),
            isFlipped ? 'another' : 'the same',
          ]),
        )
  return [table, markup`${fidelityLine(compression)}`, worst]
}

function metricTable({ metrics, policy }: GateReport, percent: number): Markdown {
  if (metrics.length === 0) return markup``
  const role = (row: GateMetricRow) =>
    row.metric === policy.primary ? ' (primary)' : isGuard(row, policy) ? ' (guardrail)' : ''
  const interval = `${percent} % interval`
  const columns = [
    'metric',
    'champion',
    'challenger',
    'baseline',
    'gain',
    interval,
    'margin',
    'floor',
    'verdict',
  ]
  const table = titledTable(
    markup`## Metrics`,
    columns,
    metrics.map((row) => [
      `${metricName(row.metric)}${role(row)}${row.higherIsBetter ? '' : ', lower is better'}`,
      metricText(row.champion),
      challengerText(row, metricText),
      metricText(row.baseline),
      gainText(row.delta),
      row.low === null ? '—' : `${gainText(row.low)} to ${gainText(row.high)}`,
      numberText(row.margin),
      row.floor === null
        ? '—'
        : markup`${numberText(row.floor)} ${row.floorMet === true ? 'met' : markup`**missed**`}`,
      metricVerdictText(row, policy),
    ]),
  )
  return markup`${table}\n\nA positive gain means that the challenger is better, for every metric.`
}

function levelTable({ levels = [] }: GateReport): Markdown {
  if (levels.length === 0) return markup``
  const table = titledTable(
    markup`## Levels`,
    ['level', 'labels below', 'labels at or below', 'off by'],
    levels.map((each) => [
      String(each.level),
      percentText(each.below),
      percentText(each.atOrBelow),
      gainText(coveredShare(each) - each.level),
    ]),
  )
  return markup`${table}\n\nA level between both shares is right: of tied labels, such as many zeros, one number is the quantile of several levels.`
}

function classTable({ classes = [] }: GateReport): Markdown {
  if (classes.length === 0) return markup``
  return titledTable(
    markup`## Classes`,
    [
      'class',
      'rows',
      ...classMetrics.flatMap((metric) => [`${metricName(metric)} of the champion`, metricName(metric)]),
    ],
    classes.map(({ name, rows, champion, challenger }) => [
      name,
      groupedDigits(rows),
      ...classMetrics.flatMap((metric) => [
        metricText(champion?.[metric] ?? null),
        metricText(challenger[metric]),
      ]),
    ]),
  )
}

function sliceTable({
  slices,
  policy: {
    slices: { metric },
  },
}: GateReport): Markdown {
  if (slices.length === 0) return markup``
  return titledTable(
    markup`## Slices by ${metricName(metric)} (worst first)`,
    ['slice', 'rows', 'champion', 'challenger', 'gain', 'adjusted p', 'smallest provable loss', 'verdict'],
    worstSlicesFirst(slices, metric).map((row) => [
      row.name,
      groupedDigits(row.rows),
      metricText(row.champion),
      metricText(row.challenger),
      gainText(row.delta),
      pValueText(row.adjustedP),
      metricText(row.provable ?? null),
      row.verdict === 'blocked' || row.verdict === 'missing'
        ? markup`**${sliceVerdictText(row.verdict)}**`
        : sliceVerdictText(row.verdict),
    ]),
  )
}

function searchTable({ sliceSearch }: GateReport): Markdown {
  if (sliceSearch === undefined) return markup``
  const { metric, found } = sliceSearch
  const heading = markup`## Slices that a search found\n\n${searchText(sliceSearch)}`
  if (found.length === 0) return heading
  return titledTable(
    heading,
    ['slice', 'rows that proposed', 'rows that proved', `champion (${metricName(metric)})`, 'challenger'],
    found.map(({ name, rows, champion, challenger }) => [
      name,
      groupedDigits(rows.proposing),
      groupedDigits(rows.proving),
      metricText(champion),
      metricText(challenger),
    ]),
  )
}

function calibrationTable({ calibration }: GateReport): Markdown {
  if (calibration === null) return markup``
  const { champion, challenger, verdict } = calibration
  const line = (name: string, figures: typeof challenger | null) => {
    const { brier = null, ece = null, mce = null } = figures ?? {}
    return [name, ...[brier, ece, mce].map((value) => numberText(value))]
  }
  return titledTable(
    markup`## Calibration: ${verdict}`,
    ['model', 'Brier', 'expected error', 'largest error'],
    [line('champion', champion), line('challenger', challenger)],
  )
}

/** Groups of more measures than this have no columns of their own: a table of twenty classes would have 42. */
const maxGroupColumns = 6

function fairnessTable(row: GateFairnessRow): Markdown {
  const percent = levelPercent(row.confidence)
  const { measures, groups } = row
  const interval = ({ value, low, high }: Estimate) =>
    value === null
      ? 'not comparable'
      : `${numberText(value)} (${percent} %: ${numberText(low)} to ${numberText(high)})`
  const shown = measures.length > maxGroupColumns ? [] : measures
  const table = titledTable(
    markup`## Fairness by ${row.attribute}: ${fairnessText(row)}`,
    ['group', 'rows', ...shown.map(({ name }) => name), 'judged'],
    groups.map(({ group, rows, values, judged }) => [
      group,
      groupedDigits(rows),
      ...shown.map((_measure, k) => numberText(values[k])),
      judged ? 'yes' : 'too few rows',
    ]),
  )
  const differences = titledTable(
    markup`Differences between the groups, the worst pair of each; errors in standard deviations of the label`,
    ['measure', 'compared', 'value', 'verdict', 'too few rows'],
    measures.map(({ name, limit, estimate, verdict, fewRows }) => [
      name,
      limit === 'selectionRatio' ? 'smallest over largest' : 'largest − smallest',
      interval(estimate),
      verdict,
      fewRows.join(', '),
    ]),
  )
  return markup`${table}\n\n${differences}`
}

const testVerdicts = {
  pass: 'passes',
  fail: markup`**fails**`,
  not_computed: markup`**not computed**`,
} as const

function testTable(tests: readonly BehaviourRow[]): Markdown {
  if (tests.length === 0) return markup``
  return titledTable(
    markup`## Behaviour tests`,
    ['test', 'kind', 'challenger', 'champion', 'finding'],
    tests.map(({ name, kind, challenger, champion }) => [
      name,
      kind,
      testVerdicts[challenger.verdict],
      champion === undefined ? '—' : testVerdicts[champion.verdict],
      challenger.message,
    ]),
  )
}

function importanceTable(importance: GateReport['importance']): Markdown {
  if (importance === undefined) return markup``
  const { metric, rows, permutations, features, unmeasured = [] } = importance
  const table = titledTable(
    markup`## Permutation importance`,
    ['feature', `fall of ${metric}`, '95 % of the permutations'],
    features.map(({ feature, fall, low, high }) => [
      feature,
      gainText(fall),
      low === null ? '—' : `${gainText(low)} to ${gainText(high)}`,
    ]),
  )
  const left = unmeasured.length === 0 ? '' : ` The time was over before ${unmeasured.length} others.`
  return markup`${table}\n\n${permutations} permutations of ${groupedDigits(rows)} test rows. Features that carry the same information share their importance.${left}`
}

function decided({ policy, judge }: GateReport, subject: ReportSubject): Markdown {
  const { evidence } = policy
  const floor = gateOf(policy.task).hasPositives
    ? `${evidence.rows} rows, ${evidence.positives} positives and ${evidence.negatives} negatives`
    : `${evidence.rows} rows`
  const facts = [
    markup`Decided by ${code(judge)} on ${policy.primary}${policy.guards.length > 0 ? `, guarded by ${policy.guards.join(', ')}` : ''}`,
    markup`${stagesText(policy)}`,
    markup`At least ${floor} were required`,
    markup`${groupedDigits(policy.resamples)} resamples with seed ${policy.seed}`,
    ...(subject.asOf === undefined ? [] : [markup`Data as of ${subject.asOf}`]),
    ...(subject.snapshot === undefined ? [] : [markup`Snapshot ${code(subject.snapshot)}`]),
  ]
  const lines = facts.map((fact) => markup`- ${fact}`)
  return markup`## Method\n\n${joinMarkdown(lines, '\n')}`
}
