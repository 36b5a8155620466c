/** Shows the offline gate of a release: every metric with its interval and limit, and the slices, worst first. */
import { countText, percentOf } from '../../../charts/figures.ts'
import { gateIntervals, intervalsSvg } from '../../../charts/intervals.ts'
import { answeredOtherwise, type PredictedAnswers } from '../../../../domain/canary/predicted-answers.ts'
import type { GateReport } from '../../../../domain/evaluation/gate.ts'
import {
  challengerText,
  comparedValue,
  decides,
  isGuard,
  failsMargin,
  type GateMetricRow,
} from '../../../../domain/evaluation/metric-table.ts'
import {
  beside,
  compressionText,
  fidelityLine,
  type GateCompression,
} from '../../../../domain/evaluation/compression.ts'
import { fairnessLine } from '../../../../domain/evaluation/fairness.ts'
import { classMetrics, type ClassFigures } from '../../../../domain/metrics/class-figures.ts'
import { searchText, type SliceSearch } from '../../../../domain/evaluation/slice-search.ts'
import { worstSlicesFirst, type GateSliceRow } from '../../../../domain/evaluation/slices.ts'
import { metricVerdictText, sliceVerdictText } from '../../../../domain/evaluation/verdict-words.ts'
import { stagesText } from '../../../../domain/tasks/judged-words.ts'
import type { PageElement } from '../../page.ts'
import {
  capitalized,
  levelPercent,
  metricName,
  percentText,
  worstCaseText,
  gainText,
  metricText,
  numberText,
  pValueText,
} from '../../../../domain/figures.ts'
import { ChartFigure, drawChartSizes, type ChartSizes } from '../../components/chart.tsx'
import { Badge, DataTable, type BadgeTone } from '../../components/elements.tsx'
import { Term } from '../../glossary.tsx'
import { plain } from '../../labels.ts'

const metricTones: Readonly<Record<GateMetricRow['verdict'], BadgeTone>> = {
  better: 'good',
  not_worse: 'good',
  not_better: 'bad',
  worse: 'bad',
  reported: 'quiet',
  undefined: 'quiet',
  error: 'bad',
}

const sliceTones: Readonly<Record<GateSliceRow['verdict'], BadgeTone>> = {
  ok: 'good',
  blocked: 'bad',
  insufficient: 'quiet',
  missing: 'bad',
}

export const gateTones = {
  better: 'good',
  not_worse: 'good',
  not_better: 'bad',
  insufficient: 'quiet',
} as const satisfies Record<GateReport['verdict'], BadgeTone>

/** Draws the chart beside the table; undefined for a first version, which has no champion to compare with. */
export async function drawGates(report: GateReport): Promise<ChartSizes | undefined> {
  const rows = gateIntervals(report)
  if (rows.length === 0) return undefined
  const frame = { id: 'gates', title: 'Gain of the challenger over the champion', wide: 350 }
  return drawChartSizes(frame, rows, intervalsSvg)
}

/** Explains why the gate refused a release: the figures of the failed metric, or the first reason. */
export function refusalText({ metrics, policy, reasons }: GateReport): string {
  const failed = metrics.find(
    (row) => failsMargin(row) && (row.metric === policy.primary || isGuard(row, policy)),
  )
  if (failed === undefined || failed.oneSidedLow === null || failed.margin === null)
    return reasons[0]?.message ?? ''
  const { metric, champion, oneSidedLow, margin } = failed
  return `${metricName(metric)} ${metricText(comparedValue(failed))} vs ${metricText(champion)}; ${worstCaseText(oneSidedLow, margin)}`
}

export const Gates = ({
  report,
  chart,
}: {
  report: GateReport
  chart: ChartSizes | undefined
}): PageElement => {
  const percent = levelPercent(report.policy.confidence)
  const standIn = stagesText(report.policy)
  const table = (
    <DataTable
      caption="Gates"
      hideCaption
      rows={report.metrics}
      empty={<GateReasons report={report} />}
      columns={[
        { head: 'Metric', names: true, cell: (row) => <MetricName row={row} report={report} /> },
        { head: 'Champion', numeric: true, cell: ({ champion }) => metricText(champion) },
        { head: 'Challenger', numeric: true, cell: (row) => challengerText(row, metricText) },
        { head: 'Δ', numeric: true, cell: ({ delta }) => gainText(delta) },
        {
          head: `${percent} % interval`,
          numeric: true,
          cell: ({ low, high }) => (low === null ? '—' : `${gainText(low)} to ${gainText(high)}`),
        },
        { head: 'Limit', cell: (row) => <Limit row={row} /> },
        {
          head: 'Verdict',
          cell: (row) => (
            <>
              <MetricVerdict row={row} policy={report.policy} />
              {row.error !== undefined && <span class="small"> {row.error}</span>}
            </>
          ),
        },
      ]}
    />
  )
  return (
    <section aria-labelledby="gates-heading">
      <h2 id="gates-heading">Gates</h2>
      <p class="quiet small">{countText(report.rows)} held-out rows. Positive = challenger is better.</p>
      <p class="quiet small">{standIn}.</p>
      {chart === undefined ? (
        table
      ) : (
        <div class="beside gates">
          {table}
          <ChartFigure chart={chart} />
        </div>
      )}
      {report.classes !== undefined && <Classes classes={report.classes} />}
      {report.answers !== undefined && <Otherwise answers={report.answers} />}
      {report.compression !== undefined && <BesideParent compression={report.compression} />}
      <Notes report={report} />
    </section>
  )
}

/** A metric that decides nothing is shown without a colour. */
const MetricVerdict = ({
  row,
  policy,
}: {
  row: GateMetricRow
  policy: GateReport['policy']
}): PageElement => {
  const { verdict, floorMet } = row
  const word = metricVerdictText(row, policy)
  if (verdict === 'reported' && floorMet !== null)
    return <Badge tone={floorMet ? 'good' : 'bad'}>{word}</Badge>
  const tone = decides(row, policy) || verdict === 'error' ? metricTones[verdict] : 'quiet'
  return <Badge tone={tone}>{word}</Badge>
}

const MetricName = ({ row, report: { policy } }: { row: GateMetricRow; report: GateReport }): PageElement => (
  <>
    <Term word={metricName(row.metric)} />
    {row.metric === policy.primary ? (
      <span class="quiet small">
        {' '}
        <Term word="primary" />
      </span>
    ) : (
      isGuard(row, policy) && (
        <span class="quiet small">
          {' '}
          <Term word="guardrail" />
        </span>
      )
    )}
  </>
)

const Limit = ({ row: { margin, floor, floorMet } }: { row: GateMetricRow }): PageElement => (
  <>
    {margin === null ? '' : `≥ ${gainText(-margin)}`}
    {floor !== null && (
      <>
        {margin === null ? '' : ' · '}
        <span class="nowrap">
          floor {numberText(floor)} {floorMet ? '✓' : <strong>✗ missed</strong>}
        </span>
      </>
    )}
    {margin === null && floor === null && '—'}
  </>
)

const GateReasons = ({ report }: { report: GateReport }): PageElement => (
  <>{report.reasons.map(({ message }) => message).join('; ') || 'No metrics computed'}</>
)

const Classes = ({ classes }: { classes: readonly ClassFigures[] }): PageElement => (
  <>
    <h3>Classes</h3>
    <DataTable
      caption="Champion → challenger, class by class"
      rows={classes}
      empty="None"
      columns={[
        { head: 'Class', names: true, cell: ({ name }) => name },
        { head: 'Rows', numeric: true, cell: ({ rows }) => countText(rows) },
        ...classMetrics.map((metric) => ({
          head: metricName(metric),
          numeric: true as const,
          cell: ({ champion, challenger }: ClassFigures) =>
            `${champion === null ? '' : `${metricText(champion[metric])} → `}${metricText(challenger[metric])}`,
        })),
      ]}
    />
  </>
)

/** What an approval covers: the release asks only about differences that go beyond these. */
const Otherwise = ({ answers }: { answers: PredictedAnswers }): PageElement => (
  <>
    <h3>Test rows answered otherwise</h3>
    <DataTable
      caption="Answers of the challenger that differ from the champion's, and which was right or nearer to the truth"
      rows={answeredOtherwise(answers).slice(0, 10)}
      empty="None"
      columns={[
        { head: 'Champion → challenger', names: true, cell: ({ from, to }) => `${from} → ${to}` },
        {
          head: 'Rows',
          numeric: true,
          cell: ({ rows, share }) => `${countText(rows)} (${percentOf(share)})`,
        },
        { head: 'Champion right', numeric: true, cell: ({ championRight }) => countText(championRight) },
        { head: 'Challenger right', numeric: true, cell: ({ candidateRight }) => countText(candidateRight) },
      ]}
    />
  </>
)

const BesideParent = ({ compression }: { compression: GateCompression }): PageElement => (
  <>
    <h3>Beside its parent {compression.version}</h3>
    <p>{capitalized(compressionText(compression))}.</p>
    <DataTable
      caption="Beside its parent"
      hideCaption
      rows={beside(compression)}
      empty="None"
      columns={['', 'Parent', 'Challenger', 'Times better'].map((head, at) => ({
        head: head || 'Measured',
        names: at === 0,
        numeric: at > 0,
        cell: (row: string[]) => row[at]!,
      }))}
    />
    <p class="quiet small">{fidelityLine(compression)}.</p>
  </>
)

const Notes = ({ report }: { report: GateReport }): PageElement => {
  const { warnings, levels = [], calibration, fairness } = report
  const notes = [
    ...warnings.map(({ message }) => message),
    ...levels.map(
      ({ level, below, atOrBelow }) =>
        `Level ${level}: ${percentText(below)} of labels below, ${percentText(atOrBelow)} at or below`,
    ),
    ...(calibration === null ? [] : [`Calibration: ${plain(calibration.verdict)}`]),
    ...fairness.map((row) => capitalized(fairnessLine(row))),
  ]
  if (notes.length === 0) return <></>
  return (
    <>
      <h3>Other checks</h3>
      <ul>
        {notes.map((note) => (
          <li>{note}</li>
        ))}
      </ul>
    </>
  )
}

export const SliceVerdict = ({ verdict }: Pick<GateSliceRow, 'verdict'>): PageElement => (
  <Badge tone={sliceTones[verdict]}>{sliceVerdictText(verdict)}</Badge>
)

export const Slices = ({ report }: { report: GateReport }): PageElement => (
  <section aria-labelledby="slices-heading">
    <h2 id="slices-heading">Slices by {metricName(report.policy.slices.metric)} (worst first)</h2>
    <DataTable
      caption="Slices"
      hideCaption
      rows={worstSlicesFirst(report.slices, report.policy.slices.metric)}
      empty="No slices defined"
      columns={[
        { head: 'Slice', names: true, cell: ({ name }) => name },
        { head: 'Rows', numeric: true, cell: ({ rows }) => countText(rows) },
        { head: 'Champion', numeric: true, cell: ({ champion }) => metricText(champion) },
        { head: 'Challenger', numeric: true, cell: ({ challenger }) => metricText(challenger) },
        { head: 'Δ', numeric: true, cell: ({ delta }) => gainText(delta) },
        { head: 'Adjusted p', numeric: true, cell: ({ adjustedP }) => pValueText(adjustedP) },
        { head: 'Provable loss', numeric: true, cell: ({ provable = null }) => metricText(provable) },
        { head: 'Verdict', cell: ({ verdict }) => <SliceVerdict verdict={verdict} /> },
      ]}
    />
    {report.sliceSearch !== undefined && <FoundSlices search={report.sliceSearch} />}
  </section>
)

const FoundSlices = ({ search }: { search: SliceSearch }): PageElement => (
  <>
    <h3>Found by a search</h3>
    <p class="quiet small">{searchText(search)}</p>
    <DataTable
      caption="Slices that a search found"
      hideCaption
      rows={search.found}
      empty="None found"
      columns={[
        { head: 'Slice', names: true, cell: ({ name }) => name },
        { head: 'Rows that proposed', numeric: true, cell: ({ rows }) => countText(rows.proposing) },
        { head: 'Rows that proved', numeric: true, cell: ({ rows }) => countText(rows.proving) },
        {
          head: `Champion (${metricName(search.metric)})`,
          numeric: true,
          cell: ({ champion }) => metricText(champion),
        },
        { head: 'Challenger', numeric: true, cell: ({ challenger }) => metricText(challenger) },
      ]}
    />
  </>
)
