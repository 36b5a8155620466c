/** Tests when a floor of quality counts: a model that is as good as its floor is below it in every second window. */
import { describe, expect, it } from 'vitest'
import { defaultGatePolicy, type GatePolicy } from '../../../domain/evaluation/policy.ts'
import {
  judgeFloor,
  judgeQuality,
  type FloorReport,
  type QualityEvidence,
} from '../../../domain/monitoring/quality.ts'
import { shareRows } from '../../../domain/evaluation/metrics.ts'
import type { ScoredRows } from '../../../domain/evaluation/scored-rows.ts'
import { seededRandom } from '@tenure/sequential'

const policy = { ...defaultGatePolicy('binary'), primary: 'accuracy' } as const
const floors = { warn: 0.85, alarm: 0.8 }
const rows = 1_000

/** A window in which each answer is right with this probability. */
function windowOf(accuracy: number, uniform: () => number) {
  const drawn = Array.from({ length: rows }, (_, i) => ({ truth: i % 2, isRight: uniform() < accuracy }))
  return judged(drawn, { baseline: accuracy, baselineRows: rows }, policy)
}

function judged(
  drawn: readonly { truth: number; isRight: boolean }[],
  baseline: Pick<QualityEvidence, 'baseline' | 'baselineRows'>,
  by: GatePolicy,
) {
  return judgeQuality(
    {
      ...baseline,
      predictions: drawn.map(({ truth, isRight }, i) => ({
        id: String(i),
        atMs: 1,
        outputs: [isRight === (truth === 1) ? 0.9 : 0.1],
      })),
      labels: drawn.map(({ truth }, i) => ({
        predictionId: String(i),
        value: truth,
        observedMs: 1,
        arrivedMs: 1,
        revision: 1,
      })),
      maturity: { status: 'ok', horizonMs: 0, delays: rows },
      span: { fromMs: 0, toMs: 2, nowMs: 2 },
      output: { kind: 'probability', positive: 'late', threshold: 0.5 },
    },
    by,
  )
}

function levelsOf(accuracy: number, windows = 150): Record<FloorReport['level'], number> {
  const uniform = seededRandom(Math.round(1_000 * accuracy))
  const count = { held: 0, doubtful: 0, warning: 0, critical: 0 }
  for (let i = 0; i < windows; i++) count[judgeFloor(windowOf(accuracy, uniform), floors)!.level]++
  return count
}

describe('the floors of a model', () => {
  it('raise nothing by chance while it is as good as the first floor', () => {
    const { held, doubtful, warning, critical } = levelsOf(0.85)
    expect(critical).toBe(0)
    // Three of 150 have a probability of 0.05 % at one of a thousand.
    expect(warning).toBeLessThan(3)
    expect(held).toBeGreaterThan(50)
    expect(doubtful).toBeGreaterThan(50)
  })

  it('warn and do not alarm while it is as good as the second', () => {
    const { warning, critical } = levelsOf(0.8)
    expect(critical).toBeLessThan(3)
    expect(warning).toBeGreaterThan(100)
  })

  it.each([0.025, 0.05])('and a quality that is a share of %f, are not missed by chance', (share) => {
    const by = { ...policy, primary: 'recall', margins: { recall: 0.01 } } as const
    const uniform = seededRandom(8)
    const windows = Array.from({ length: 300 }, () => {
      // 140 positives, of which so many are found.
      const drawn = Array.from({ length: rows }, (_, i) => {
        const truth = i < 140 ? 1 : 0
        return { truth, isRight: uniform() < (truth === 1 ? share : 0.9) }
      })
      const quality = judged(drawn, { baseline: share + 0.01 }, by)
      return { quality, floor: judgeFloor(quality, { warn: share, alarm: 0.01 })! }
    })
    // Four of 300 have a probability of 0.03 % at one of a thousand.
    expect(windows.filter(({ quality }) => quality.level === 'lost').length).toBeLessThan(4)
    expect(windows.filter(({ floor }) => floor.level === 'warning').length).toBeLessThan(4)
  })

  it('alarm when it is certainly worse', () => expect(levelsOf(0.72).critical).toBeGreaterThan(140))

  it.each(['precision', 'recall', 'precisionAtTop'] as const)(
    'are doubtful on both sides for a %s of few rows, which ends no alarm',
    (metric) => {
      const few = { level: 'held', metric, standardError: null, higherIsBetter: true, rows: 29 } as const
      for (const value of [0, 1])
        expect(judgeFloor({ ...few, value }, floors)).toMatchObject({ level: 'doubtful', alarm: 'doubtful' })
      expect(judgeFloor({ ...few, rows: 30, value: 1 }, floors)?.level).toBe('held')
    },
  )

  it('count the rows of a share at the top', () => {
    const scored = {
      y: Array.from({ length: 1_000 }, (_, row) => Number(row < 20)),
      predicted: Array.from({ length: 1_000 }, () => 0),
    } as unknown as ScoredRows
    expect(shareRows('precisionAtTop', { ...scored, top: 0.01 })).toBe(10)
    expect(shareRows('recallAtTop', scored)).toBe(20)
  })

  it('are compared with a message that says how certain the value is', () => {
    const given = {
      level: 'held',
      metric: 'accuracy',
      standardError: 0.01,
      higherIsBetter: true,
      rows,
    } as const
    const said = (value: number) => judgeFloor({ ...given, value }, floors)?.reasons
    expect(said(0.85)).toEqual([])
    expect(said(0.83)).toEqual([
      'Accuracy 0.83 on 1,000 matured outcomes: not certainly below the limit 0.85',
    ])
    expect(said(0.81)).toEqual(['Accuracy 0.81 on 1,000 matured outcomes: certainly below the limit 0.85'])
    expect(said(0.79)).toEqual([
      'Accuracy 0.79 on 1,000 matured outcomes: certainly below the limit 0.85, not certainly below 0.8',
    ])
    expect(said(0.76)).toEqual(['Accuracy 0.76 on 1,000 matured outcomes: certainly below the limit 0.8'])
    const error = { ...given, metric: 'rmse', higherIsBetter: false, value: 9 } as const
    expect(judgeFloor(error, { warn: 5, alarm: 8 })).toEqual({
      level: 'critical',
      alarm: 'certain',
      limit: 8,
      reasons: ['RMSE 9 on 1,000 matured outcomes: certainly above the limit 8'],
    })
  })

  it('are in doubt without a standard error, and not compared without a measured quality', () => {
    const measured = { metric: 'accuracy', value: 0.1, standardError: null } as const
    const given = { ...measured, level: 'held', higherIsBetter: true, rows } as const
    expect(judgeFloor(given, floors)).toMatchObject({ level: 'doubtful', alarm: 'doubtful' })
    expect(judgeFloor({ ...given, level: 'insufficient' }, floors)).toBeUndefined()
    expect(judgeFloor({ ...given, value: null }, floors)).toBeUndefined()
  })
})
