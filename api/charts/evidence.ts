/**
 * Draws the evidence of a release: for the candidate, which completes a stage, and against it, which rolls it back. Each line is a
 * share of its own decision threshold, so that lines of different units compare.
 */
import type { Verdict } from '../../domain/verdict.ts'
import { apart, timeAxis, timeDomain } from './axis.ts'
import { colours } from './colours.ts'
import { figureText, finiteOrNull, percentOf, truncated } from './figures.ts'
import { drawChart, drawEmptyChart, isNarrow, type ChartPlace, type PlotModule } from './render.ts'
import { thin } from './thin.ts'

export interface EvidencePoint {
  atMs: number
  /** The name of the stage; a rule marks each change. */
  stage: string
  /** The measure: `errors`, `requests`, … */
  name: string
  /** The key of the measure in the statistics of a verdict; absent for what a stage needs. */
  metric?: string
  side: 'for' | 'against'
  /** Share of the threshold; 1 or more decides. */
  share: number
}

/** Reason codes of inconclusive verdicts, with the line that each feeds. */
const awaited: Readonly<Record<string, { name: string; have: string; need: string }>> = {
  minimum_time: { name: 'observed time', have: 'elapsedMs', need: 'minMs' },
  minimum_requests: { name: 'requests', have: 'requests', need: 'minRequests' },
  promotion_evidence: { name: 'proof', have: 'logE', need: 'threshold' },
  quality_evidence: { name: 'quality', have: 'logE', need: 'threshold' },
  business_evidence: { name: 'business', have: 'logE', need: 'threshold' },
}

/** The measures against the candidate, by their keys in the statistics of a verdict. */
const evidenceNames: Readonly<Record<string, string>> = {
  errors: 'errors',
  invalid: 'invalid outputs',
  slow95: 'slow (p95)',
  slow99: 'slow (p99)',
  scoreShift: 'score shift',
  business: 'business',
  external: 'external',
}

/** Reads the evidence from the verdicts of a release. A requirement that a stage no longer lists is complete. */
export function evidencePoints(
  verdicts: readonly {
    atMs: number
    stage: string
    verdict: Pick<Verdict, 'kind' | 'reasons' | 'statistics'>
  }[],
): EvidencePoint[] {
  const points: EvidencePoint[] = []
  const waitedFor = new Map<string, Set<string>>()
  for (const { atMs, stage, verdict } of [...verdicts].sort((one, other) => one.atMs - other.atMs)) {
    const names = waitedFor.get(stage) ?? new Set()
    waitedFor.set(stage, names)
    const now = new Map<string, number>()
    for (const { code, values } of verdict.reasons) {
      const kind = awaited[code]
      const [have, need] = [Number(values[kind?.have ?? '']), Number(values[kind?.need ?? ''])]
      if (kind !== undefined && Number.isFinite(have) && need > 0)
        // The proof furthest behind holds the stage.
        now.set(kind.name, Math.min(now.get(kind.name) ?? Infinity, Math.max(0, have / need)))
    }
    for (const name of now.keys()) names.add(name)
    if (verdict.kind === 'pass' || verdict.kind === 'inconclusive')
      for (const name of names) points.push({ atMs, stage, name, side: 'for', share: now.get(name) ?? 1 })
    for (const [metric, name] of Object.entries(evidenceNames)) {
      const logE = finiteOrNull(verdict.statistics[`${metric}LogE`])
      const threshold = finiteOrNull(verdict.statistics[`${metric}Threshold`])
      if (logE !== null && threshold !== null && threshold > 0)
        points.push({ atMs, stage, name, metric, side: 'against', share: Math.max(0, logE / threshold) })
    }
  }
  return points
}

/** The upper end of the axis: evidence above 1 has decided. */
const top = 1.15
/** Lines below this share are named in the description and not drawn. */
const quietShare = 0.02

interface Line {
  name: string
  side: EvidencePoint['side']
  points: { at: Date; share: number; stage: string }[]
  last: { at: Date; share: number }
}

function linesOf(given: readonly EvidencePoint[]): { lines: Line[]; quiet: string[] } {
  const byName = new Map<string, EvidencePoint[]>()
  for (const point of given) {
    if (!Number.isFinite(point.atMs) || Number.isNaN(point.share)) continue
    const name = `${point.side} ${point.name}`
    const known = byName.get(name)
    if (known === undefined) byName.set(name, [point])
    else known.push(point)
  }
  const lines: Line[] = []
  const quiet: string[] = []
  for (const points of byName.values()) {
    const { side } = points[0]!
    const name = truncated(points[0]!.name, 30)
    if (side === 'against' && points.every(({ share }) => share < quietShare)) {
      quiet.push(name)
      continue
    }
    const drawn = thin(
      points.sort((one, other) => one.atMs - other.atMs),
      ({ share }) => share,
    ).map(({ atMs, share, stage }) => ({ at: new Date(atMs), share: Math.min(top, share), stage }))
    lines.push({ name, side, points: drawn, last: drawn.at(-1)! })
  }
  return { lines, quiet }
}

const dashes = ['', '5,3', '2,3', '8,3,2,3', '1,4'] as const

export async function evidenceSvg(given: readonly EvidencePoint[], frame: ChartPlace): Promise<string> {
  const { lines, quiet } = linesOf(given)
  if (lines.length === 0)
    return drawEmptyChart(
      frame,
      quiet.length > 0
        ? `No evidence against the candidate: ${quiet.join(', ')} below 2 %`
        : 'No verdict yet',
    )
  const full = { ...frame, description: described(lines, quiet) }
  const narrow = isNarrow(full)
  const height = narrow ? 220 : 250
  const [from, to] = timeDomain(lines.flatMap(({ points }) => points.map(({ at }) => at.getTime())))
  const shades = lines.map(({ side }, i) => ({
    stroke: side === 'for' ? colours.main : colours.bad,
    dash: dashes[lines.slice(0, i).filter((each) => each.side === side).length % dashes.length]!,
  }))
  const [marginTop, marginBottom] = [30, 28]
  const high = height - marginTop - marginBottom
  const labels = apart(
    lines.map(({ last }) => (1 - last.share / top) * high),
    { gap: 13, low: 0, high },
  )
  const stages = boundaries(lines)
  return drawChart(full, (plot) => ({
    height,
    marginLeft: 50,
    marginRight: narrow ? 84 : 116,
    marginTop,
    marginBottom,
    x: timeAxis([from, to], narrow ? 3 : 7, frame.zone),
    y: {
      domain: [0, top],
      label: null,
      ticks: [0, 0.25, 0.5, 0.75, 1],
      tickFormat: (share: number) => `${Math.round(100 * share)} %`,
      grid: true,
    },
    color: { type: 'identity' },
    marks: [
      plot.ruleY([1], { stroke: 'currentColor', strokeWidth: 1.5, strokeOpacity: 0.7 }),
      plot.text([''], {
        frameAnchor: 'top-left',
        dx: 4,
        dy: (high * (top - 1)) / top - 3,
        lineAnchor: 'bottom',
        text: () => 'decision threshold',
        textAnchor: 'start',
        fontStyle: 'italic',
        fillOpacity: 0.75,
      }),
      plot.ruleX(stages.slice(1), { x: 'at', strokeOpacity: 0.35, strokeDasharray: '2,3' }),
      plot.text(narrow ? [] : stages, {
        x: 'at',
        frameAnchor: 'top',
        dy: -14,
        text: ({ stage }: { stage: string }) => truncated(stage, 16),
        textAnchor: 'start',
      }),
      ...lines.flatMap((line, i) => lineMarks(plot, line, { ...shades[i]!, labelY: labels[i]!, narrow })),
    ],
  }))
}

const described = (lines: readonly Line[], quiet: readonly string[]): string =>
  [
    ...lines.map(
      ({ name, side, last }) => `${name} ${side} the candidate: ${percentOf(last.share)} of the threshold`,
    ),
    ...(quiet.length > 0 ? [`below 2 %: ${quiet.join(', ')}`] : []),
  ].join('; ')

function lineMarks(
  plot: PlotModule,
  { name, side, points }: Line,
  { stroke, dash, labelY, narrow }: { stroke: string; dash: string; labelY: number; narrow: boolean },
) {
  return [
    plot.lineY(points, {
      x: 'at',
      y: 'share',
      stroke,
      strokeWidth: 2,
      strokeDasharray: dash,
      curve: side === 'for' ? 'linear' : 'step-after',
    }),
    ...(points.length === 1 ? [plot.dot(points, { x: 'at', y: 'share', r: 3, fill: stroke })] : []),
    plot.text([name], {
      frameAnchor: 'top-right',
      dx: 8,
      dy: labelY,
      textAnchor: 'start',
      text: () => truncated(name, narrow ? 12 : 17),
      fill: stroke,
      fontWeight: 'bold',
    }),
  ]
}

/** The first time of each stage. */
function boundaries(lines: readonly Line[]): { stage: string; at: Date }[] {
  const first = new Map<string, number>()
  for (const { stage, at } of lines.flatMap(({ points }) => points))
    first.set(stage, Math.min(first.get(stage) ?? Infinity, at.getTime()))
  return [...first]
    .map(([stage, at]) => ({ stage, at: new Date(at) }))
    .sort((one, other) => Number(one.at) - Number(other.at))
}

/** The chart for a terminal. */
export function evidenceText(
  given: readonly EvidencePoint[],
  { width = 72 }: { width?: number } = {},
): string {
  const { lines, quiet } = linesOf(given)
  const nameWidth = Math.max(0, ...lines.map(({ name, side }) => name.length + side.length + 1))
  const cells = Math.max(10, Math.min(40, width - nameWidth - 16))
  const drawn = lines.map(({ name, side, last }) => {
    const filled = Math.round(Math.min(1, last.share) * cells)
    const state = last.share >= 1 ? ' decided' : ''
    return `${`${side} ${name}`.padEnd(nameWidth)}  ${'█'.repeat(filled)}${'░'.repeat(cells - filled)} ${figureText(Math.round(100 * last.share)).padStart(3)} %${state}`
  })
  const silent = quiet.length > 0 ? [`no evidence against it: ${quiet.join(', ')}`] : []
  return [...drawn, ...silent].join('\n') || 'No verdict yet'
}
