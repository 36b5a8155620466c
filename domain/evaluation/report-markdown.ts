/** Renders the report of the gate as Markdown: the verdict in one sentence, the reasons, and every figure. */
import type { BehaviourRow } from '../behaviour/behaviour-test.ts'
import { fairnessText, type GateFairnessRow } from './fairness.ts'
import { worstSlicesFirst } from './slices.ts'
import { isGuard, challengerText, verdictText, type GateMetricRow } from './metric-table.ts'
import type { GateReport, GateVerdict } from './gate.ts'
import {
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
import { escapedText, titledTable } from '../markdown.ts'
import type { Reason } from '../verdict.ts'

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
    `# ${escapedText(subject.model)}: ${escapedText(subject.challenger)} is ${headlines[report.verdict]}`,
    summary(report, subject),
    list('Reasons', report.reasons),
    list('Other checks', report.warnings),
    metricTable(report, percent),
    levelTable(report),
    sliceTable(report),
    calibrationTable(report),
    ...report.fairness.map((row) => fairnessTable(row)),
    testTable(report.tests ?? []),
    importanceTable(report.importance),
    decided(report, subject),
  ]
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`
}

const headlines: Record<GateVerdict, string> = {
  better: 'better',
  not_worse: 'not worse',
  not_better: 'not better',
  insufficient: 'not evaluated: too few rows',
}

function summary({ verdict, needsPerson, rows, positives }: GateReport, subject: ReportSubject): string {
  const against =
    subject.champion === undefined ? 'its floors and the baseline' : `**${escapedText(subject.champion)}**`
  const on = `${groupedDigits(rows)} test rows${positives === null ? '' : ` (${groupedDigits(positives)} positives)`}`
  const next = needsPerson
    ? 'It needs a check by a user.'
    : verdict === 'better' || verdict === 'not_worse'
      ? 'It may be released.'
      : 'It is not released.'
  return `**${escapedText(subject.challenger)}** was evaluated against ${against} on ${on}. ${next}`
}

function list(title: string, reasons: readonly Reason[]): string {
  if (reasons.length === 0) return ''
  const lines = reasons.map(({ code, message }) => `- ${escapedText(message)} (\`${code}\`)`)
  return [`## ${title}`, '', ...lines].join('\n')
}

function metricTable({ metrics, policy }: GateReport, percent: number): string {
  if (metrics.length === 0) return ''
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
    '## Metrics',
    columns,
    metrics.map((row) => [
      `${escapedText(metricName(row.metric))}${role(row)}${row.higherIsBetter ? '' : ', lower is better'}`,
      metricText(row.champion),
      challengerText(row, metricText),
      metricText(row.baseline),
      gainText(row.delta),
      row.low === null ? '—' : `${gainText(row.low)} to ${gainText(row.high)}`,
      numberText(row.margin),
      row.floor === null ? '—' : `${numberText(row.floor)} ${row.floorMet === true ? 'met' : '**missed**'}`,
      verdictText(row),
    ]),
  )
  return `${table}\n\nA positive gain means that the challenger is better, for every metric.`
}

function levelTable({ levels = [] }: GateReport): string {
  if (levels.length === 0) return ''
  const table = titledTable(
    '## Levels',
    ['level', 'labels below', 'labels at or below', 'off by'],
    levels.map((each) => [
      String(each.level),
      percentText(each.below),
      percentText(each.atOrBelow),
      gainText(coveredShare(each) - each.level),
    ]),
  )
  return `${table}\n\nA level between both shares is right: of tied labels, such as many zeros, one number is the quantile of several levels.`
}

function sliceTable({
  slices,
  policy: {
    slices: { metric },
  },
}: GateReport): string {
  if (slices.length === 0) return ''
  return titledTable(
    `## Slices by ${metricName(metric)} (worst first)`,
    ['slice', 'rows', 'champion', 'challenger', 'gain', 'adjusted p', 'verdict'],
    worstSlicesFirst(slices, metric).map((row) => [
      escapedText(row.name),
      groupedDigits(row.rows),
      metricText(row.champion),
      metricText(row.challenger),
      gainText(row.delta),
      pValueText(row.adjustedP),
      row.verdict === 'blocked' || row.verdict === 'missing' ? `**${row.verdict}**` : row.verdict,
    ]),
  )
}

function calibrationTable({ calibration }: GateReport): string {
  if (calibration === null) return ''
  const { champion, challenger, verdict } = calibration
  const line = (name: string, figures: typeof challenger | null) => {
    const { brier = null, ece = null, mce = null } = figures ?? {}
    return [name, ...[brier, ece, mce].map((value) => numberText(value))]
  }
  return titledTable(
    `## Calibration: ${verdict}`,
    ['model', 'Brier', 'expected error', 'largest error'],
    [line('champion', champion), line('challenger', challenger)],
  )
}

function fairnessTable(row: GateFairnessRow): string {
  const percent = levelPercent(row.confidence)
  const interval = ({ value, low, high }: GateFairnessRow['selectionRatio']) =>
    value === null
      ? 'not comparable'
      : `${numberText(value)} (${percent} %: ${numberText(low)} to ${numberText(high)})`
  const table = titledTable(
    `## Fairness by ${escapedText(row.attribute)}: ${escapedText(fairnessText(row))}`,
    ['group', 'rows', 'selected', 'true positives', 'false positives', 'judged'],
    row.groups.map((group) => [
      escapedText(group.group),
      groupedDigits(group.rows),
      numberText(group.selectionRate),
      numberText(group.tpr),
      numberText(group.fpr),
      group.judged ? 'yes' : 'too few rows',
    ]),
  )
  return (
    `${table}\n\nSmallest over largest selection rate: ${interval(row.selectionRatio)}. True-positive rates differ by ` +
    `${interval(row.tprDifference)}, false-positive rates by ${interval(row.fprDifference)}.${fewRowsLine(row)}`
  )
}

function fewRowsLine({ fewRows }: GateFairnessRow): string {
  const named = [
    ['selection rate', fewRows.selectionRate],
    ['true-positive rate', fewRows.tpr],
    ['false-positive rate', fewRows.fpr],
  ] as const
  const parts = named.flatMap(([rate, groups]) =>
    groups.length === 0 ? [] : [`${rate} of ${groups.map(escapedText).join(', ')}`],
  )
  return parts.length === 0 ? '' : `\n\nToo few rows to judge: ${parts.join('; ')}.`
}

const testVerdicts = { pass: 'passes', fail: '**fails**', not_computed: '**not computed**' } as const

function testTable(tests: readonly BehaviourRow[]): string {
  if (tests.length === 0) return ''
  return titledTable(
    '## Behaviour tests',
    ['test', 'kind', 'challenger', 'champion', 'finding'],
    tests.map(({ name, kind, challenger, champion }) => [
      escapedText(name),
      kind,
      testVerdicts[challenger.verdict],
      champion === undefined ? '—' : testVerdicts[champion.verdict],
      escapedText(challenger.message),
    ]),
  )
}

function importanceTable(importance: GateReport['importance']): string {
  if (importance === undefined) return ''
  const { metric, rows, permutations, features, unmeasured = [] } = importance
  const table = titledTable(
    '## Permutation importance',
    ['feature', `fall of ${escapedText(metric)}`, '95 % of the permutations'],
    features.map(({ feature, fall, low, high }) => [
      escapedText(feature),
      gainText(fall),
      low === null ? '—' : `${gainText(low)} to ${gainText(high)}`,
    ]),
  )
  const left = unmeasured.length === 0 ? '' : ` The time was over before ${unmeasured.length} others.`
  return `${table}\n\n${permutations} permutations of ${groupedDigits(rows)} test rows. Features that carry the same information share their importance.${left}`
}

function decided({ policy, judge }: GateReport, subject: ReportSubject): string {
  const { evidence } = policy
  const floor =
    policy.task === 'binary'
      ? `${evidence.rows} rows, ${evidence.positives} positives and ${evidence.negatives} negatives`
      : `${evidence.rows} rows`
  const facts = [
    `Decided by \`${judge}\` on ${policy.primary}` +
      (policy.guards.length > 0 ? `, guarded by ${policy.guards.join(', ')}` : ''),
    `At least ${floor} were required`,
    `${groupedDigits(policy.resamples)} resamples with seed ${policy.seed}`,
    ...(subject.asOf === undefined ? [] : [`Data as of ${escapedText(subject.asOf)}`]),
    ...(subject.snapshot === undefined ? [] : [`Snapshot \`${escapedText(subject.snapshot)}\``]),
  ]
  return ['## Method', '', ...facts.map((fact) => `- ${fact}`)].join('\n')
}
