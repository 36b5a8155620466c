/** Shows releases, drift, quality and incidents of models on one axis of time. The overview loads it when it comes into view. */
import { listModelHistory } from '../../../../store/dashboard/model-history.ts'
import { readFleet } from '../../../../store/dashboard/overview.ts'
import { modelLanesSvg, type LaneData } from '../../../charts/history/model-lanes.ts'
import { ChartFigure, drawChartSizes, type ChartSizes } from '../../components/chart.tsx'
import { Live } from '../../components/elements.tsx'
import { definePage } from '../../page.ts'
import { inOrderOfTrouble, worstOf, concernsOf } from './concerns.ts'
import { readMeasured } from './measured.ts'

const lanesSpanMs = 7 * 86_400_000
const maxLaneModels = 6
/** The limit per model and kind: an hourly window for a week. */
const maxSpans = 170
/** The time axis advances in these steps, so that a live page does not redraw the chart at each reload. */
const stepMs = 300_000
const leastSpanMs = 2 * stepMs

export const timelinePage = definePage({
  async load({ store }, { actor, zone }) {
    const [measured, { nowMs }] = await Promise.all([readMeasured(store), readFleet(store)])
    const models = inOrderOfTrouble(measured.states, worstOf(concernsOf(measured, actor.role)))
    const shown = models.slice(0, maxLaneModels).map(({ model }) => model)
    const fromMs = Math.floor((nowMs - lanesSpanMs) / 60_000) * 60_000
    const fromAt = new Date(fromMs).toISOString()
    const spans = await listModelHistory(store, { models: shown, fromAt, limit: maxSpans })
    return {
      chart: await drawModelLanes({ spans, fromMs, nowMs }, zone),
      hidden: models.length - shown.length,
    }
  },
  title: () => 'Timeline',
  view: ({ chart, hidden }) => (
    <>
      <h1>Timeline</h1>
      <Live id="time-line" target="/timeline" everyMs={60_000}>
        <ChartFigure
          chart={chart}
          note={`The last 7 days, or since the first event. Full bars are problems: rolled back, drift, quality lost, alert. Thin bars are fine.${hidden > 0 ? ` ${hidden} more models have a timeline on their own page.` : ''}`}
        />
      </Live>
    </>
  ),
})

export const drawModelLanes = ({ spans, fromMs, nowMs }: LaneData, zone: string): Promise<ChartSizes> => {
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
    { id: 'lanes', title: 'Releases, drift, quality and incidents of the last 7 days', wide: 1_240, zone },
    { spans: begun, fromMs: axisMs, nowMs: lastMs, endMs },
    modelLanesSvg,
  )
}
