/** Renders the live quality, the drift and the champion history on a model's page. */
import { qualityText } from '../../../../domain/monitoring/quality.ts'
import { counted, inMetricOrder, metricName, metricText, numberText } from '../../../../domain/figures.ts'
import { answerRows } from '../../../../domain/monitoring/drift.ts'
import type { WindowMetric } from '../../../../domain/monitoring/quality.ts'
import { psiText, truncated } from '../../../charts/figures.ts'
import type { ChampionChange } from '../../../../store/registry/champions.ts'
import type { LastDrift } from '../../../../store/dashboard/windows.ts'
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
  champion?: string | undefined
  /** ISO 8601: when outcomes of the champion's first predictions are due; absent from then on. */
  dueAt?: string
  /** What is measured in place of a custom primary metric. */
  standIn?: string
}

export type DriftPart = LastDrift & { chart: ChartSizes }

const qualityNote =
  'Dots: the end of each window. Line: value at release. Dashed, red: limit. Dotted: another champion. Bars: 95 % intervals where the metric has one.'

const NoQuality = ({
  known,
  champion,
  dueAt,
}: Pick<QualityPart, 'known' | 'champion' | 'dueAt'>): PageElement => (
  <>
    {known === 0 ? 'No outcomes yet. Send them to POST /v1/outcomes.' : 'Not measured yet.'}
    {champion !== undefined && (
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

/** Says in one sentence how good the champion is on outcomes, or whose quality was measured last. */
function qualityTitle({
  points,
  metric,
  champion,
}: Pick<QualityPart, 'points' | 'metric' | 'champion'>): string {
  const last = points.at(-1)
  if (last === undefined) return 'Quality is not measured yet'
  const { value, level, isWithin, limit, version } = last
  const judged =
    level === 'insufficient' || limit === null
      ? 'too few outcomes to judge'
      : level === 'lost'
        ? `lost: the limit is ${metricText(limit)}`
        : isWithin
          ? `within the limit of ${metricText(limit)}`
          : `past the limit of ${metricText(limit)}, which may be chance`
  const isFormer = champion !== undefined && version !== champion
  return `${metricName(metric)} ${metricText(value)}${isFormer ? ` of ${version}` : ''}, ${judged}${isFormer ? '. The champion is not measured yet' : ''}`
}

export const QualitySection = ({
  points,
  metric,
  chart,
  weekly,
  standIn,
  ...coming
}: QualityPart): PageElement => (
  <section class="part" aria-labelledby="quality-title">
    <h2 id="quality-title">{qualityTitle({ points, metric, champion: coming.champion })}</h2>
    {points.length > 0 ? (
      <>
        <ChartFigure chart={chart} note={`Live quality${weekly ? ' by week' : ''}. ${qualityNote}`} />
        <details>
          <summary>Measurements</summary>
          {standIn !== undefined && <p class="quiet small">{standIn}.</p>}
          <Measurements points={points} metric={metric} weekly={weekly} />
        </details>
      </>
    ) : (
      <p class="empty">
        <NoQuality {...coming} />
      </p>
    )}
  </section>
)

const Measurements = ({
  points,
  metric,
  weekly,
}: Pick<QualityPart, 'points' | 'metric' | 'weekly'>): PageElement => (
  <>
    <DataTable
      caption={weekly ? 'Last weeks' : 'Last windows'}
      rows={points.slice(-8).toReversed()}
      empty=""
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
        {
          head: 'Verdict',
          cell: ({ level }) => <Badge tone={qualityTones[level]}>{qualityText[level]}</Badge>,
        },
      ]}
    />
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
  </>
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
  drift?: DriftPart | undefined
  path: string
  champion?: string | undefined
}

/** Says in one sentence which features drifted, the most drifted first, or what is not known. */
export function driftTitle({ report }: Pick<LastDrift, 'report'>): string {
  const { level, features } = report
  const hasDrifted = (each: { level: string }) => each.level === 'warn' || each.level === 'alarm'
  const moved = features.filter(hasDrifted).toSorted((one, other) => (other.psi ?? 0) - (one.psi ?? 0))
  const unmeasured = features.filter((each) => psiOf(each) === undefined).length
  if (level !== 'stable' && !hasDrifted(report)) return 'Drift is not measured: too few requests'
  const first = moved.slice(0, 2).map(({ name, psi }) => `${truncated(name, 30)} PSI ${psiText(psi)}`)
  return [
    moved.length === 0
      ? `None of ${counted(features.length, 'feature')} drifted`
      : `${moved.length} of ${counted(features.length, 'feature')} drifted: ${first.join(', ')}${moved.length > 2 ? ' …' : ''}`,
    ...(answerRows(report).some(hasDrifted) ? ['the predictions drifted'] : []),
    ...(unmeasured === 0 ? [] : [`${unmeasured} not measured`]),
  ].join('; ')
}

const psiOf = ({ level, psi }: { level: string; psi: number | null }): number | undefined =>
  level === 'insufficient' || level === 'unreadable' || psi === null ? undefined : psi

export const DriftSection = ({ drift, path, champion }: DriftParts): PageElement =>
  drift === undefined ? (
    <section class="part" aria-labelledby="drift-title">
      <h2 id="drift-title">Drift is not measured yet</h2>
      <p class="empty">
        Needs a few hundred requests in whole hours. A sudden change alarms within an hour or two of the first
        day; a gradual one after two periods of <code>monitor.span</code>.
      </p>
    </section>
  ) : (
    <section class="part" aria-labelledby="drift-title">
      <h2 id="drift-title">{driftTitle(drift)}</h2>
      <ChartFigure
        chart={drift.chart}
        note="Population stability index (PSI) of each feature, live vs training data"
      />
      <p class="small">
        <Badge tone={levelTones[drift.report.level] ?? 'quiet'}>{levelText(drift.report.level)}</Badge>{' '}
        <span class="quiet">
          Window to <Time at={drift.toAt} />
          {drift.version !== champion && ` of ${drift.version}, not of the champion`}
        </span>{' '}
        <a href={`${path}/features`}>All inputs</a>
      </p>
      {drift.report.reasons.length > 0 && (
        <details>
          <summary>Why</summary>
          <ul>
            {drift.report.reasons.slice(0, 8).map(({ message }) => (
              <li>{message}</li>
            ))}
          </ul>
        </details>
      )}
    </section>
  )

export const ChampionHistory = ({ changes }: { changes: readonly ChampionChange[] }): PageElement => (
  <section class="part">
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
