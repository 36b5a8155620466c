/** Tests the charts of a release that was rolled back in its fourth stage, as text and as SVG. */
import { describe, expect, it } from 'vitest'
import { gateIntervals } from '../../../../api/charts/intervals.ts'
import type { EvaluationAnswer } from '../../../../cli/client/responses.ts'
import {
  chartsSvg,
  chartsText,
  evidencePointsOf,
  timelineOf,
  type ChartedRelease,
} from '../../../../cli/commands/lifecycle/release-charts.ts'
import { dayPolicy } from '../../../../domain/release/policy.ts'
import type { ReleaseState } from '../../../../domain/release/state.ts'

const startMs = Date.parse('2026-03-01T12:00:00Z')
const hourMs = 3_600_000
const nowMs = startMs + 14 * hourMs
const routings = dayPolicy.stages.slice(0, 4).map((_, stageIndex) => ({
  stage: 'canary' as const,
  stageIndex,
  startedMs: startMs + stageIndex * 3 * hourMs,
  generation: stageIndex + 1,
}))
const state = { strategy: 'canary', policy: dayPolicy, routings } as unknown as ReleaseState
const release: ChartedRelease = {
  version: 'flight_v1.2.0',
  baseline_version: 'flight_<b>&"v1',
  outcome: 'rolled_back',
  ended_at: new Date(startMs + 13 * hourMs).toISOString(),
  state,
  // The newest first, as in the API.
  decisions: routings
    .flatMap(({ stageIndex, startedMs }) =>
      [1, 2, 3].map((look) => ({
        at: new Date(startedMs + look * 0.9 * hourMs).toISOString(),
        stage: 'canary',
        stage_index: stageIndex,
        kind: look < 3 ? 'inconclusive' : stageIndex === 3 ? 'fail' : 'pass',
        reasons: [
          { code: 'minimum_requests', message: 'm', values: { requests: 200 * look, minRequests: 600 } },
        ],
        statistics: { excessBad: 3 * stageIndex + look },
      })),
    )
    .reverse(),
}
const row = { challenger: 0.6, baseline: 0.5, champion: 0.61 }
const evaluation: EvaluationAnswer = {
  id: 'evl_1',
  verdict: 'better',
  report: {
    metrics: [
      { ...row, metric: 'auc', delta: 0.03, low: 0.01, high: 0.05, margin: 0.01, verdict: 'better' },
      { ...row, metric: 'brier', delta: null, low: null, high: null, margin: null, verdict: 'undefined' },
    ],
  },
}

describe('the charts of a release', () => {
  it('are computed from the API response', () => {
    expect(gateIntervals(evaluation.report)).toMatchObject([{ label: 'AUC', limit: -0.01 }])
    const { stages, harm, harmBudget } = timelineOf(release, nowMs)
    expect(stages.map(({ verdict }) => verdict)).toEqual(['pass', 'pass', 'pass', 'fail'])
    expect(stages.at(-1)).toMatchObject({
      toMs: startMs + 13 * hourMs,
      shareBp: dayPolicy.stages[3]!.shareBp,
    })
    expect(harm?.map(({ excess }) => excess)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    expect(harmBudget).toBe(dayPolicy.limits.harmBudget)
    expect(evidencePointsOf(release)).not.toEqual([])
    const going = { ...release, decisions: [] } as ChartedRelease
    delete going.ended_at
    expect(timelineOf(going, nowMs).stages.at(-1)).toMatchObject({ toMs: null })
  })

  it('are text under a title, and absent without data', () => {
    const charts = chartsText(release, evaluation, { width: 90, nowMs })
    expect(charts.map(({ title }) => title)).toHaveLength(3)
    expect(charts.map(({ text }) => text).join('\n')).toMatch(/AUC.*●[\s\S]*failure budget: 12 of[\s\S]*67 %/)
    const unborn = { ...release, state: { ...state, routings: [] }, decisions: [] }
    expect(chartsText(unborn, { ...evaluation, report: {} }, { width: 90, nowMs })).toEqual([])
  })

  it.each([80, 90, 110])('fit a terminal of %i columns, whatever the verdicts are', (width) => {
    const names = ['errors', 'invalid outputs', 'slow (p95)', 'slow (p99)', 'score shift', 'wrong answers']
    for (const verdict of ['better', 'not_worse', 'not_better', 'reported', 'error'] as const)
      for (const kind of ['pass', 'fail', 'inconclusive', 'no_data', 'error']) {
        const metrics = ['auc', 'averagePrecision'].map((metric) => ({
          ...row,
          metric,
          verdict,
          delta: -4.67e-5,
          low: -0.0001,
          high: 3.57e-5,
          margin: 0.02,
        }))
        const decisions = release.decisions.map((each) => ({
          ...each,
          kind,
          reasons: [
            ...each.reasons,
            ...names.map((name) => ({
              code: 'evidence',
              message: 'm',
              values: { logE: 0, threshold: 3, name } as never,
            })),
          ],
        }))
        const charts = chartsText(
          { ...release, decisions },
          { ...evaluation, report: { metrics } },
          { width, nowMs },
        )
        for (const line of charts.flatMap(({ text }) => text.split('\n')))
          expect(line.length, line).toBeLessThanOrEqual(width)
      }
  })

  it('are one standalone SVG without overlaps', async () => {
    const svg = await chartsSvg(release, evaluation, { nowMs })
    const [, whole = '0'] = /^<svg [^>]* height="(\d+)"/.exec(svg) ?? []
    const parts = [...svg.matchAll(/<svg y="(\d+)"[^>]*>/g)].map(([tag, y]) => ({
      top: Number(y),
      height: Number(/ height="(\d+)"/.exec(tag)?.[1]),
    }))
    expect(parts).toHaveLength(3)
    let end = 0
    for (const { top, height } of parts) {
      expect(top).toBeGreaterThan(end)
      end = top + height
    }
    expect(Number(whole)).toBeGreaterThanOrEqual(end)
    expect(svg).toContain('flight_v1.2.0 against flight_&#60;b&#62;&#38;&#34;v1')
    expect(svg).not.toMatch(/NaN|undefined|var\(--|<b>/)
  })
})
