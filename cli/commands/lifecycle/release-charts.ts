/** Draws the charts of a release from the API's data, as text for a terminal or as one SVG: gains, stages and evidence. */
import { evidencePoints, evidenceText, type EvidencePoint } from '../../../api/charts/evidence.ts'
import { gateIntervals, intervalsText } from '../../../api/charts/intervals.ts'
import { timelineText, type Timeline, type TimelineStage } from '../../../api/charts/timeline.ts'
import { stepsOf, type ReleaseState } from '../../../domain/release/state.ts'
import type { Verdict } from '../../../domain/verdict.ts'
import type { EvaluationAnswer } from '../../client/responses.ts'
import { wrapped } from '../../terminal.ts'
import { share } from '../format.ts'

export interface ChartedDecision {
  at: string
  stage: string
  stage_index: number
  kind: string
  reasons: Verdict['reasons']
  statistics?: Verdict['statistics']
}

export interface ChartedRelease {
  version: string
  baseline_version?: string
  outcome?: string
  ended_at?: string
  state: ReleaseState
  decisions: ChartedDecision[]
}

/** Returns the stages in routing order; none before the first routing. */
export function timelineOf(release: ChartedRelease, nowMs: number): Timeline {
  const { state, decisions, ended_at: endedAt } = release
  const stages: TimelineStage[] = []
  for (const [index, { stage, stageIndex, startedMs }] of state.routings.entries()) {
    const isSame = (each: { stage: string; stageIndex: number }) =>
      each.stage === stage && each.stageIndex === stageIndex
    if (state.routings.slice(0, index).some(isSame)) continue
    const next = state.routings.slice(index + 1).find((each) => !isSame(each))
    const last = decisions.find((each) => each.stage === stage && each.stage_index === stageIndex)
    stages.push({
      name: stageName(state, stage, stageIndex),
      fromMs: startedMs,
      toMs: next?.startedMs ?? (endedAt === undefined ? null : Date.parse(endedAt)),
      shareBp: stage === 'shadow' ? 0 : shareOf(state, stage, stageIndex),
      verdict: last?.kind,
    })
  }
  const harm = oldestFirst(decisions).flatMap(({ at, statistics }) => {
    const excess = statistics?.['excessBad']
    return excess === null || excess === undefined ? [] : [{ atMs: Date.parse(at), excess }]
  })
  return { stages, harm, harmBudget: state.policy.limits.harmBudget, nowMs }
}

export function evidencePointsOf({ state, decisions }: ChartedRelease): EvidencePoint[] {
  return evidencePoints(
    oldestFirst(decisions).map(({ at, stage, stage_index: index, kind, reasons, statistics }) => ({
      atMs: Date.parse(at),
      stage: stageName(state, stage, index),
      verdict: { kind: kind as Verdict['kind'], reasons, statistics: statistics ?? {} },
    })),
  )
}

const oldestFirst = (decisions: readonly ChartedDecision[]): ChartedDecision[] =>
  decisions.toSorted((one, other) => Date.parse(one.at) - Date.parse(other.at))

function shareOf(state: ReleaseState, stage: string, stageIndex: number): number {
  if (stage === 'probation') return 10_000 - (state.policy.probation?.holdbackBp ?? 0)
  const step = stepsOf(state).find((each) => each.stage === stage && each.stageIndex === stageIndex)
  return step?.policy.shareBp ?? 10_000
}

/** Names a stage with its share: `canary 5 %`. */
export function stageName(state: ReleaseState, stage: string, stageIndex: number): string {
  const shown = share(shareOf(state, stage, stageIndex))
  return stage === 'canary' || stage === 'shadow' ? `${stage} ${shown}` : stage.replace('_', ' ')
}

/** Draws the charts that have data, each as text under a title. */
export function chartsText(
  release: ChartedRelease,
  evaluation: EvaluationAnswer,
  { width, nowMs }: { width: number; nowMs: number },
): { title: string; text: string }[] {
  const rows = gateIntervals(evaluation.report)
  const timeline = timelineOf(release, nowMs)
  const points = evidencePointsOf(release)
  const charts = [
    rows.length > 0 && { title: 'Gains', text: intervalsText(rows, { width }) },
    timeline.stages.length > 0 && { title: 'Stages', text: timelineText(timeline, { width }) },
    points.length > 0 && { title: 'Evidence against thresholds', text: evidenceText(points, { width }) },
  ]
  return charts
    .filter((each) => each !== false)
    .map(({ title, text }) => ({
      title,
      text: text
        .split('\n')
        .flatMap((line) => wrapped(line, width))
        .join('\n'),
    }))
}

/** Draws all charts stacked in one SVG. Loads the drawing library only here. */
export async function chartsSvg(
  release: ChartedRelease,
  evaluation: EvaluationAnswer,
  { nowMs }: { nowMs: number },
): Promise<string> {
  const [{ intervalsSvg }, { timelineSvg }, { evidenceSvg }, { standAlone }] = await Promise.all([
    import('../../../api/charts/intervals.ts'),
    import('../../../api/charts/timeline.ts'),
    import('../../../api/charts/evidence.ts'),
    import('../../../api/charts/colours.ts'),
  ])
  const gates = { id: 'gates', title: 'Gains over the champion' }
  const timeline = { id: 'timeline', title: 'Stages' }
  const evidence = { id: 'evidence', title: 'Evidence against thresholds' }
  const drawings = [
    { ...gates, svg: await intervalsSvg(gateIntervals(evaluation.report), gates) },
    { ...timeline, svg: await timelineSvg(timelineOf(release, nowMs), timeline) },
    { ...evidence, svg: await evidenceSvg(evidencePointsOf(release), evidence) },
  ]
  const title = `${release.version}${release.baseline_version ? ` against ${release.baseline_version}` : ''}`
  return standAlone(stacked(title, drawings))
}

const room = { above: 40, title: 22, below: 18 }

/** Stacks the drawings in one SVG, each under its title. */
function stacked(title: string, drawings: readonly { title: string; svg: string }[]): string {
  let at = room.above
  let width = 0
  const placed = drawings.map(({ title: heading, svg }) => {
    const [tag = ''] = /^<svg[^>]*>/.exec(svg) ?? []
    const sizeOf = (name: string, usual: number) =>
      Number(new RegExp(` ${name}="([\\d.]+)"`).exec(tag)?.[1] ?? usual)
    const top = at + room.title
    at = top + sizeOf('height', 200) + room.below
    width = Math.max(width, sizeOf('width', 640))
    return `${textAt(top - 8, 13, heading)}\n${svg.replace(/^<svg/, `<svg y="${top}"`)}`
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${at}" viewBox="0 0 ${width} ${at}" font-family="system-ui, sans-serif" color="#24292f">`,
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    textAt(24, 15, title),
    ...placed,
    '</svg>',
    '',
  ].join('\n')
}

const textAt = (y: number, size: number, text: string): string =>
  `<text x="18" y="${y}" font-size="${size}" font-weight="bold" fill="#24292f">${escaped(text)}</text>`

const escaped = (text: string): string => text.replace(/[&<>"]/g, (sign) => `&#${sign.codePointAt(0)};`)
