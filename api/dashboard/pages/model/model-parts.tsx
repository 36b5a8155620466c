/** The parts of a model's page: its quality and its drift in use, and who was champion. */
import { sparkline } from '../../../../charts/sparkline.ts'
import type { QualityPoint } from '../../../../charts/quality.ts'
import type { ChampionChange } from '../../../../store/registry/champions.ts'
import type { DriftWindowLine, LastDrift } from '../../../../store/dashboard/drift-windows.ts'
import type { View } from '../../page.ts'
import { Drawing, type Drawn } from '../../components/chart.tsx'
import { Badge, numberText, Table, Time, type Tone } from '../../components/elements.tsx'
import type { DatedPoint } from '../../components/quality-points.ts'
import { plain } from '../../labels.ts'

export interface QualityPart {
  points: DatedPoint[]
  metric: string
  chart: Drawn
  /** Whether each stands for a week, or for one window. */
  weekly: boolean
}

export type DriftPart = LastDrift & { chart: Drawn }

const qualityTones: Readonly<Record<QualityPoint['level'], Tone>> = {
  held: 'good',
  lost: 'bad',
  insufficient: 'quiet',
}

export const Quality = ({ points, metric, chart, weekly }: QualityPart): View => (
  <section class="card">
    <h2>Quality {weekly ? 'by week' : 'in use'}</h2>
    <div class="beside">
      <Drawing
        chart={chart}
        note={
          points.length === 0
            ? undefined
            : 'Line: at its release. Dashed: the least that is accepted. Bars: 95 % intervals where the metric has one.'
        }
      />
      <Table
        caption={weekly ? 'The last weeks' : 'The last windows'}
        rows={points.slice(-8).toReversed()}
        empty="Quality is measured when outcomes have had the time to come: POST /v1/outcomes."
        columns={[
          {
            head: 'Until (UTC)',
            cell: ({ toMs }) => <Until at={new Date(toMs).toISOString()} weekly={weekly} />,
          },
          { head: metric, numeric: true, cell: ({ value }) => numberText(value) },
          {
            head: '95 % interval',
            numeric: true,
            cell: ({ low, high }) =>
              low === null || high === null ? '–' : `${numberText(low)} – ${numberText(high)}`,
          },
          { head: 'Outcomes', numeric: true, cell: ({ rows }) => numberText(rows) },
          { head: 'Said', cell: ({ level }) => <Badge tone={qualityTones[level]}>{level}</Badge> },
        ]}
      />
    </div>
  </section>
)

/** Of a week the day is enough. */
const Until = ({ at, weekly }: { at: string; weekly: boolean }): View =>
  weekly ? (
    <time datetime={at} title={at}>
      {at.slice(0, 10)}
    </time>
  ) : (
    <Time at={at} />
  )

const levelTones: Readonly<Record<string, Tone>> = { stable: 'good', warn: 'warn', alarm: 'bad' }

export const Drift = ({
  drift,
  windows,
  path,
}: {
  drift: DriftPart | undefined
  windows: readonly DriftWindowLine[]
  path: string
}): View => (
  <section class="card">
    <h2>Drift</h2>
    {drift === undefined ? (
      <p class="empty">No window has been judged yet: a window needs some hundred requests.</p>
    ) : (
      <>
        <p>
          <Badge tone={levelTones[drift.report.level] ?? 'quiet'}>{plain(drift.report.level)}</Badge> in the
          window until <Time at={drift.toAt} /> UTC, against the training rows of {drift.version}.{' '}
          <a href={`${path}/features`}>Feature by feature</a>
        </p>
        {drift.report.reasons.length > 0 && (
          <ul>
            {drift.report.reasons.slice(0, 8).map(({ message }) => (
              <li>{message}</li>
            ))}
          </ul>
        )}
        <Drawing
          chart={drift.chart}
          note="Population stability index: how far the shares of the bins have moved."
        />
        {windows.length > 1 && (
          <p>
            <span class="hint">The largest of each of the last {windows.length} windows: </span>
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

export const Changes = ({ changes }: { changes: ChampionChange[] }): View => (
  <section class="card">
    <Table
      caption="Who was champion"
      rows={changes}
      empty="There has been no champion yet."
      columns={[
        { head: 'Since (UTC)', cell: ({ at }) => <Time at={at} /> },
        { head: 'Version', names: true, cell: ({ version }) => version },
        {
          head: 'By',
          cell: ({ cause }) => <Badge tone={cause === 'promotion' ? 'good' : 'bad'}>{cause}</Badge>,
        },
        { head: 'Who', cell: ({ actor }) => actor },
        { head: 'Why', cell: ({ reason }) => reason },
        {
          head: 'Release',
          cell: ({ releaseId }) =>
            releaseId === undefined ? (
              '–'
            ) : (
              <a href={`/releases/${encodeURIComponent(releaseId)}`}>its page</a>
            ),
        },
      ]}
    />
  </section>
)
