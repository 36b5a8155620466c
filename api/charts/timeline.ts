/** Draws the stages of a release: the traffic share over time, and the used share of the failure budget. */
import { timeAxis, timeDomain } from './axis.ts'
import { colours } from './colours.ts'
import { countText, spanText, finiteOrNull, utcMinute, percentOf, truncated } from './figures.ts'
import { drawChart, drawEmptyChart, isNarrow, type ChartPlace, type PlotModule } from './render.ts'
import { barText } from './sparkline.ts'
import { thin } from './thin.ts'

export interface TimelineStage {
  /** For example `canary 5 %`. */
  name: string
  fromMs: number
  /** Null while the stage runs. */
  toMs: number | null
  /** The candidate's share of traffic in basis points; 0 in a shadow. */
  shareBp: number
  /** `pass`, `fail`, … */
  verdict?: string
}

export interface Timeline {
  stages: readonly TimelineStage[]
  /** Failed requests above the champion's rate, cumulative. */
  harm?: readonly { atMs: number; excess: number }[]
  harmBudget?: number
  /** The end of running stages in the chart. */
  nowMs: number
}

interface Drawn extends TimelineStage {
  from: Date
  to: Date
  share: number
}

/** The last stages are drawn. */
const maxStages = 100

function drawable({ stages, nowMs }: Timeline): Drawn[] {
  return stages
    .filter(({ fromMs, toMs }) => Number.isFinite(fromMs) && (toMs === null || Number.isFinite(toMs)))
    .map((stage) => ({
      ...stage,
      from: new Date(stage.fromMs),
      to: new Date(Math.max(stage.fromMs, stage.toMs ?? Math.max(nowMs, stage.fromMs))),
      share: Math.min(1, Math.max(0, (finiteOrNull(stage.shareBp) ?? 0) / 10_000)),
    }))
    .sort((one, other) => one.fromMs - other.fromMs)
    .slice(-maxStages)
}

const described = (stage: Drawn): string =>
  `${truncated(stage.name, 60)}: ${percentOf(stage.share)} of traffic for ${spanText(stage.to.getTime() - stage.fromMs)}` +
  (stage.verdict === undefined
    ? stage.toMs === null
      ? ', in progress'
      : ''
    : `, ${stage.verdict.replace('_', ' ')}`)

const isBad = (verdict: string | undefined): boolean => verdict === 'fail' || verdict === 'error'

export async function timelineSvg(timeline: Timeline, frame: ChartPlace): Promise<string> {
  const stages = drawable(timeline)
  if (stages.length === 0) return drawEmptyChart(frame, 'No stages yet')
  const used = usedBudget(timeline)
  const lastUsed = used.at(-1)
  const spent =
    lastUsed === undefined
      ? ''
      : `; ${countText(lastUsed.excess)} of ${countText(timeline.harmBudget)} failures of the failure budget used`
  const full = { ...frame, description: `${stages.map(described).join('; ')}${spent}` }
  const narrow = isNarrow(full)
  const [from, to] = timeDomain(stages.flatMap((stage) => [stage.from.getTime(), stage.to.getTime()]))
  const spanMs = to.getTime() - from.getTime()
  const pixelsPerMs = ((frame.width ?? 640) - 64) / spanMs
  // A name wider than its stage stands in the tooltip alone.
  const named = stages.filter(
    (stage) => (stage.to.getTime() - stage.fromMs) * pixelsPerMs > 6.2 * truncated(stage.name, 24).length,
  )
  return drawChart(full, (plot) => ({
    height: narrow ? 190 : 230,
    marginLeft: 46,
    marginRight: 18,
    marginTop: 30,
    marginBottom: 28,
    x: timeAxis([from, to], narrow ? 4 : 8, frame.zone),
    y: {
      domain: [0, 1],
      label: null,
      ticks: 5,
      tickFormat: (share: number) => `${Math.round(100 * share)} %`,
      grid: true,
    },
    color: { type: 'identity' },
    marks: [
      plot.rect(stages, {
        x1: 'from',
        x2: 'to',
        y1: 0,
        y2: (stage) => Math.max(stage.share, 0.006),
        fill: (stage) =>
          isBad(stage.verdict) ? colours.bad : stage.shareBp > 0 ? colours.main : colours.other,
        fillOpacity: 0.35,
        title: described,
      }),
      plot.ruleX(stages.slice(1), {
        x: 'from',
        stroke: 'currentColor',
        strokeOpacity: 0.35,
        strokeDasharray: '2,3',
      }),
      plot.text(named, {
        x: (stage) => new Date((stage.from.getTime() + stage.to.getTime()) / 2),
        frameAnchor: 'top',
        dy: -14,
        text: (stage) => truncated(stage.name, 24),
        fontSize: 11,
      }),
      lastUsed && excessMarks(plot, used, lastUsed),
    ],
  }))
}

interface UsedBudget {
  at: Date
  excess: number
  share: number
}

/** The used share of the failure budget over time; empty without a budget. */
function usedBudget({ harm = [], harmBudget }: Timeline): UsedBudget[] {
  const budget = finiteOrNull(harmBudget)
  if (budget === null || budget <= 0) return []
  const points = harm.filter(({ atMs, excess }) => Number.isFinite(atMs) && finiteOrNull(excess) !== null)
  return thin(points, ({ excess }) => excess).map(({ atMs, excess }) => ({
    at: new Date(atMs),
    excess,
    share: Math.min(1, Math.max(0, excess / budget)),
  }))
}

const excessMarks = (plot: PlotModule, used: UsedBudget[], last: UsedBudget) => [
  plot.lineY(used, { x: 'at', y: 'share', stroke: colours.bad, strokeWidth: 2, curve: 'step-after' }),
  plot.text([last], {
    x: 'at',
    y: 'share',
    text: () => 'failure budget used',
    textAnchor: 'end',
    dy: -8,
    fill: colours.bad,
    fontWeight: 'bold',
  }),
]

/** The cells of a share in a terminal, at the least. */
const minCells = 6

/** The chart for a terminal: one line a stage, with its share of traffic as a bar. */
export function timelineText(timeline: Timeline, { width = 96 }: { width?: number } = {}): string {
  const stages = drawable(timeline)
  if (stages.length === 0) return 'No stages yet'
  const rows = stages.map(({ fromMs, to, toMs, share, verdict }) => ({
    before: `  ${utcMinute(fromMs)}  ${spanText(to.getTime() - fromMs).padStart(11)}  ▕`,
    share,
    after: `▏  ${percentOf(share).padStart(6)}  ${verdict?.replace('_', ' ') ?? (toMs === null ? 'in progress' : 'ended')}`,
  }))
  const room = width - Math.max(...rows.map(({ before, after }) => before.length + after.length))
  const names = stages.map(({ name }) => truncated(name, Math.min(28, room - minCells)))
  const nameWidth = Math.max(...names.map((name) => name.length))
  const cells = Math.max(minCells, Math.min(24, room - nameWidth))
  const lines = rows.map(
    ({ before, share, after }, i) =>
      `${names[i]!.padEnd(nameWidth)}${before}${barText(share, cells)}${after}`,
  )
  const last = (timeline.harm ?? []).filter(({ excess }) => finiteOrNull(excess) !== null).at(-1)
  if (last !== undefined && finiteOrNull(timeline.harmBudget ?? null) !== null)
    lines.push(
      `failure budget: ${countText(last.excess)} of ${countText(timeline.harmBudget)} used at the last verdict`,
    )
  return lines.join('\n')
}
