/** Shows releases, drift, quality and incidents of models on one axis of time. */
import { modelLanesSvg, type LaneData } from '../../../../charts/history/model-lanes.ts'
import type { OverviewRow } from '../../../../store/dashboard/overview.ts'
import type { Release } from '../../../../store/release/releases.ts'
import type { PageElement } from '../../page.ts'
import { ChartFigure, drawChartSizes, type ChartSizes } from '../../components/chart.tsx'

export const lanesSpanMs = 7 * 86_400_000
const maxLaneModels = 6
/** The time axis advances in these steps, so that a live page does not redraw the chart at each reload. */
const stepMs = 300_000
const leastSpanMs = 2 * stepMs

interface ModelLine {
  row: OverviewRow
  release?: Release | undefined
  alerts: number
}

/** Returns the models, those with an open release, an alert or drift first. */
export const laneModels = (models: readonly ModelLine[]): string[] =>
  models
    .map(({ row, release, alerts }) => {
      const drifts = row.drift?.level === 'warn' || row.drift?.level === 'alarm'
      return { model: row.model, weight: Number(release !== undefined) + Number(alerts > 0) + Number(drifts) }
    })
    .toSorted((one, other) => other.weight - one.weight)
    .slice(0, maxLaneModels)
    .map(({ model }) => model)

export const drawModelLanes = ({ spans, fromMs, nowMs }: LaneData): Promise<ChartSizes> => {
  const endMs = Math.ceil(nowMs / stepMs) * stepMs
  // In a young installation, the axis starts at its first event. A window of drift or quality begins before the data in it.
  const first = Math.min(
    ...spans.map(({ kind, fromMs: beganMs, toMs }) =>
      kind === 'drift' || kind === 'quality' ? (toMs ?? nowMs) : beganMs,
    ),
  )
  const begun = spans.map((span) => ({ ...span, fromMs: Math.max(span.fromMs, first) }))
  const startMs = Math.max(fromMs, Math.min(endMs - leastSpanMs, first))
  const axisMs = Math.floor(startMs / stepMs) * stepMs
  // What lasts ends now, in steps of less than a hundredth of the axis.
  const openMs = Math.min(stepMs, (endMs - axisMs) / 120)
  const lastMs = Math.floor(nowMs / openMs) * openMs
  return drawChartSizes(
    { id: 'lanes', title: 'Releases, drift, quality and incidents of the last 7 days', wide: 1_240 },
    { spans: begun, fromMs: axisMs, nowMs: lastMs, endMs },
    modelLanesSvg,
  )
}

export const ModelLanes = ({ chart, hidden }: { chart: ChartSizes; hidden: number }): PageElement => (
  <section class="card" id="time-line">
    <h2>Timeline</h2>
    <ChartFigure
      chart={chart}
      note={`The last 7 days, or since the first event. Full bars need attention: rolled back, drift, quality lost, alert. Thin bars do not.${hidden > 0 ? ` ${hidden} more models have a timeline on their own page.` : ''}`}
    />
  </section>
)
