/** Renders the report of the gate as Markdown: the verdict in one sentence, the reasons, and every figure. */
import type { GateFairnessRow } from './fairness.ts'
import type { GateSliceRow } from './slices.ts'
import type { GateMetricRow } from './metric-table.ts'
import type { GateReport, GateVerdict } from './gate.ts'
import type { Reason } from '../verdict.ts'

export interface ReportSubject {
  model: string
  /** The challenger's version, or its name before it has one. */
  challenger: string
  /** The live champion's version; absent for the first version of a model. */
  champion?: string
  /** The time as of which the data was known. */
  asOf?: string
  /** The digest of the snapshot. */
  snapshot?: string
}

/** Markdown with one table a part; empty parts are omitted. */
export function gateMarkdown(report: GateReport, subject: ReportSubject): string {
  const { policy } = report
  const percent = Math.round(100 * policy.confidence)
  const parts = [
    `# ${text(subject.model)}: ${text(subject.challenger)} is ${headlines[report.verdict]}`,
    summary(report, subject),
    list('Reasons', report.reasons),
    list('Other checks', report.warnings),
    metricTable(report, percent),
    sliceTable(report.slices, policy.slices.metric),
    calibrationTable(report),
    ...report.fairness.map((row) => fairnessTable(row, percent)),
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
    subject.champion === undefined ? 'its floors and the baseline' : `**${text(subject.champion)}**`
  const on = `${count(rows)} test rows${positives === null ? '' : ` (${count(positives)} positives)`}`
  const next = needsPerson
    ? 'It needs a check by a user.'
    : verdict === 'better' || verdict === 'not_worse'
      ? 'It may be released.'
      : 'It is not released.'
  return `**${text(subject.challenger)}** was evaluated against ${against} on ${on}. ${next}`
}

function list(title: string, reasons: readonly Reason[]): string {
  if (reasons.length === 0) return ''
  return [`## ${title}`, '', ...reasons.map(({ code, message }) => `- ${text(message)} (\`${code}\`)`)].join(
    '\n',
  )
}

function metricTable({ metrics, policy }: GateReport, percent: number): string {
  if (metrics.length === 0) return ''
  const role = (row: GateMetricRow) =>
    row.metric === policy.primary ? ' (primary)' : policy.guards.includes(row.metric) ? ' (guardrail)' : ''
  return table(
    'Metrics',
    [
      'metric',
      'champion',
      'challenger',
      'baseline',
      'gain',
      `${percent} % interval`,
      'margin',
      'floor',
      'verdict',
    ],
    metrics.map((row) => [
      `${row.metric}${role(row)}${row.higherIsBetter ? '' : ', lower is better'}`,
      number(row.champion),
      number(row.challenger),
      number(row.baseline),
      signed(row.delta),
      row.low === null ? '–' : `${signed(row.low)} to ${signed(row.high)}`,
      number(row.margin),
      row.floor === null ? '–' : `${number(row.floor)} ${row.floorMet === true ? 'met' : '**missed**'}`,
      row.verdict.replace('_', ' '),
    ]),
    'A positive gain means that the challenger is better, for every metric.',
  )
}

function sliceTable(slices: readonly GateSliceRow[], metric: string): string {
  if (slices.length === 0) return ''
  return table(
    `Slices, by ${metric}`,
    ['slice', 'rows', 'champion', 'challenger', 'gain', 'adjusted p', 'verdict'],
    slices.map((row) => [
      text(row.name),
      count(row.rows),
      number(row.champion),
      number(row.challenger),
      signed(row.delta),
      number(row.adjustedP),
      row.verdict === 'blocked' || row.verdict === 'missing' ? `**${row.verdict}**` : row.verdict,
    ]),
  )
}

function calibrationTable({ calibration }: GateReport): string {
  if (calibration === null) return ''
  const { champion, challenger, verdict } = calibration
  const line = (name: string, figures: typeof challenger | null) => [
    name,
    number(figures?.brier ?? null),
    number(figures?.ece ?? null),
    number(figures?.mce ?? null),
  ]
  return table(
    `Calibration: ${verdict}`,
    ['model', 'Brier', 'expected error', 'largest error'],
    [line('champion', champion), line('challenger', challenger)],
  )
}

function fairnessTable(row: GateFairnessRow, percent: number): string {
  const interval = ({ value, low, high }: GateFairnessRow['selectionRatio']) =>
    value === null ? 'undefined' : `${number(value)} (${percent} %: ${number(low)} to ${number(high)})`
  return table(
    `Fairness by ${text(row.attribute)}: ${row.verdict}`,
    ['group', 'rows', 'selected', 'true positives', 'false positives', 'judged'],
    row.groups.map((group) => [
      text(group.group),
      count(group.rows),
      number(group.selectionRate),
      number(group.tpr),
      number(group.fpr),
      group.judged ? 'yes' : 'too few rows',
    ]),
    `Smallest over largest selection rate: ${interval(row.selectionRatio)}. True-positive rates differ by ` +
      `${interval(row.tprDifference)}, false-positive rates by ${interval(row.fprDifference)}.`,
  )
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
    `${count(policy.resamples)} resamples with seed ${policy.seed}`,
    ...(subject.asOf === undefined ? [] : [`Data as known at ${text(subject.asOf)}`]),
    ...(subject.snapshot === undefined ? [] : [`Snapshot \`${text(subject.snapshot)}\``]),
  ]
  return ['## Method', '', ...facts.map((fact) => `- ${fact}`)].join('\n')
}

function table(title: string, head: string[], rows: string[][], note = ''): string {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`
  const body = [line(head), line(head.map(() => '---')), ...rows.map(line)]
  return [`## ${title}`, '', ...body, ...(note === '' ? [] : ['', note])].join('\n')
}

function number(value: number | null): string {
  return value === null ? '–' : String(Number(value.toPrecision(4)))
}

function signed(value: number | null): string {
  if (value === null) return '–'
  const shown = number(Math.abs(value))
  return value > 0 ? `+${shown}` : value < 0 ? `−${shown}` : '0'
}

function count(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ',')
}

/** Names come from data, so they must not open a table cell, a tag or a link. */
function text(value: string): string {
  return value.replace(/\s+/g, ' ').replace(/[\\`*_{}[\]<>|#]/g, (sign) => `\\${sign}`)
}
