/** Renders the live quality, the drift and the champion history on a model's page. */
import { inMetricOrder, metricName, metricText, numberText } from '../../../../domain/figures.ts'
import type { WindowMetric } from '../../../../domain/monitoring/quality.ts'
import { sparkline } from '../../../charts/sparkline.ts'
import type { ChampionChange } from '../../../../store/registry/champions.ts'
import type { DriftWindowLine, LastDrift } from '../../../../store/dashboard/windows.ts'
import type { PageElement } from '../../page.ts'
import { ChartFigure, type ChartSizes } from '../../components/chart.tsx'
import { Badge, DataTable, Time } from '../../components/elements.tsx'
import { ReleaseLink } from '../../components/links.tsx'
import type { MeasuredPoint } from '../../components/quality-points.ts'
import { levelText, levelTones, qualityTones, shortReason } from '../../labels.ts'

export interface QualityPart {
  points: MeasuredPoint[]
  metric: string
  chart: ChartSizes
  /** Whether each point covers a week instead of one window. */
  weekly: boolean
  /** The number of known outcomes of the champion's predictions. */
  known: number
  hasChampion: boolean
  /** ISO 8601: when outcomes of the champion's first predictions are due; absent from then on. */
  dueAt?: string
  /** What is measured in place of a custom primary metric. */
  standIn?: string
}

export type DriftPart = LastDrift & { chart: ChartSizes }

const qualityNote =
  'Dots: the end of each window. Line: value at release. Dashed: limit. Bars: 95 % intervals where the metric has one.'

const NoQuality = ({
  known,
  hasChampion,
  dueAt,
}: Pick<QualityPart, 'known' | 'hasChampion' | 'dueAt'>): PageElement => (
  <>
    {known === 0 ? 'No outcomes yet. Send them to POST /v1/outcomes.' : 'Not measured yet.'}
    {hasChampion && (
      <>
        {' '}
        Needs outcomes for 80 % of the predictions that are old enough, at least 100
        {dueAt !== undefined && [
          ', or after ',
          <Time at={dueAt} />,
          ' (',
          <code>monitor.outcomesWithin</code>,
          ')',
        ]}
        .
      </>
    )}
  </>
)

export const QualitySection = ({
  points,
  metric,
  chart,
  weekly,
  standIn,
  ...coming
}: QualityPart): PageElement => (
  <section class="card">
    <h2>Live quality{weekly && ' by week'}</h2>
    {standIn !== undefined && <p class="quiet small">{standIn}.</p>}
    <div class="beside">
      {points.length > 0 && <ChartFigure chart={chart} note={qualityNote} />}
      <DataTable
        caption={weekly ? 'Last weeks' : 'Last windows'}
        rows={points.slice(-8).toReversed()}
        empty={<NoQuality {...coming} />}
        columns={[
          {
            head: 'To',
            cell: ({ atMs }) => <Until at={new Date(atMs).toISOString()} weekly={weekly} />,
          },
          { head: metricName(metric), numeric: true, cell: ({ value }) => metricText(value) },
          {
            head: '95 % interval',
            numeric: true,
            cell: ({ low, high }) =>
              low === null || high === null ? '—' : `${metricText(low)} – ${metricText(high)}`,
          },
          { head: 'Outcomes', numeric: true, cell: ({ rows }) => numberText(rows) },
          { head: 'Verdict', cell: ({ level }) => <Badge tone={qualityTones[level]}>{level}</Badge> },
        ]}
      />
    </div>
    {otherMetrics(points).length > 0 && (
      <DataTable
        caption="Other metrics, with intervals of 95 %"
        rows={points.slice(-8).toReversed()}
        empty=""
        columns={[
          {
            head: 'To',
            cell: ({ atMs }) => <Until at={new Date(atMs).toISOString()} weekly={weekly} />,
          },
          ...otherMetrics(points).map((name) => ({
            head: metricName(name),
            numeric: true as const,
            cell: ({ metrics }: MeasuredPoint) => (
              <OtherMetric {...metrics.find((each) => each.metric === name)} />
            ),
          })),
        ]}
      />
    )}
  </section>
)

/** Those of the last window. */
const otherMetrics = (points: readonly MeasuredPoint[]): string[] =>
  inMetricOrder((points.at(-1)?.metrics ?? []).map(({ metric }) => metric))

const OtherMetric = ({ value, low, high }: Partial<WindowMetric>): PageElement => (
  <>
    {metricText(value)}
    {low != null && high != null && ` (${metricText(low)} – ${metricText(high)})`}
  </>
)

/** Shows the end of a point: a week ends on a day, a window at a time. */
const Until = ({ at, weekly }: { at: string; weekly: boolean }): PageElement => (
  <Time at={at} shows={weekly ? 'day' : undefined} />
)

interface DriftParts {
  drift?: DriftPart
  windows: readonly DriftWindowLine[]
  path: string
}

export const DriftSection = ({ drift, windows, path }: DriftParts): PageElement => (
  <section class="card">
    <h2>Drift</h2>
    {drift === undefined ? (
      <p class="empty">
        Not enough traffic yet (a few hundred requests in whole hours). After a day of traffic a sudden change
        alarms within an hour or two. A gradual one needs two periods in a row: two days, unless{' '}
        <code>monitor.span</code> is shorter than 24 h.
      </p>
    ) : (
      <>
        <p>
          <Badge tone={levelTones[drift.report.level] ?? 'quiet'}>{levelText(drift.report.level)}</Badge>{' '}
          Window to <Time at={drift.toAt} /> vs training data of {drift.version} ·{' '}
          <a href={`${path}/features`}>All features</a>
        </p>
        {drift.report.reasons.length > 0 && (
          <ul>
            {drift.report.reasons.slice(0, 8).map(({ message }) => (
              <li>{message}</li>
            ))}
          </ul>
        )}
        <ChartFigure chart={drift.chart} note="Population stability index (PSI) per feature" />
        {windows.length > 1 && (
          <p>
            <span class="hint">Highest PSI in each of the last {windows.length} windows: </span>
            <span
              class="spark"
              role="img"
              aria-label={`from ${numberText(windows[0]!.psi)} to ${numberText(windows.at(-1)!.psi)}`}
            >
              {sparkline(windows.map(({ psi }) => psi))}
            </span>
          </p>
        )}
      </>
    )}
  </section>
)

export const ChampionHistory = ({ changes }: { changes: ChampionChange[] }): PageElement => (
  <section class="card">
    <h2>Champion history</h2>
    <DataTable
      caption="Champion history"
      hideCaption
      rows={changes}
      empty="No champion yet"
      columns={[
        { head: 'Since', cell: ({ at }) => <Time at={at} /> },
        { head: 'Version', names: true, cell: ({ version }) => version },
        {
          head: 'Cause',
          cell: ({ cause }) => <Badge tone={cause === 'promotion' ? 'good' : 'bad'}>{cause}</Badge>,
        },
        { head: 'Actor', cell: ({ actor }) => actor },
        { head: 'Reason', cell: ({ reason }) => shortReason(reason) },
        { head: 'Release', cell: ({ releaseId }) => <ReleaseLink id={releaseId} /> },
      ]}
    />
  </section>
)
