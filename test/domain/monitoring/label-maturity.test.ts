import { describe, expect, it } from 'vitest'
import {
  maturedCohort,
  maturedSpan,
  maturity,
  type Label,
} from '../../../domain/monitoring/label-maturity.ts'
import { findSkew } from '../../../domain/monitoring/training-serving-skew.ts'

const hour = 3_600_000
const now = 1_000 * hour

describe('maturity', () => {
  const slow = Array.from({ length: 200 }, (_, i) => (i + 1) * 60_000)

  it('is the 95th percentile of the delays of cohorts old enough to have shown them all', () => {
    const old = { endMs: now - 10 * hour, delaysMs: slow }
    const young = { endMs: now - hour, delaysMs: Array.from({ length: 500 }, () => 1) }
    const { status, horizonMs, delays } = maturity([old, young], now, 8 * hour)
    expect([status, delays]).toEqual(['ok', 200])
    expect(horizonMs! / 60_000).toBeCloseTo(190.05, 9)
  })

  it('is unknown with few delays or without delays', () => {
    expect(maturity([{ endMs: 0, delaysMs: slow.slice(0, 99) }], now, hour)).toMatchObject({
      status: 'insufficient',
      horizonMs: null,
    })
    expect(maturity([], now, hour)).toEqual({ status: 'insufficient', horizonMs: null, delays: 0 })
    const broken = { endMs: 0, delaysMs: [...slow.slice(0, 99), NaN, -1, Infinity] }
    expect(maturity([broken], now, hour).delays).toBe(99)
  })

  it('gives the span whose predictions are aged between H and H + W', () => {
    expect(maturedSpan(now, 5 * hour, 24 * hour)).toEqual({ fromMs: now - 29 * hour, toMs: now - 5 * hour })
  })
})

describe('a matured cohort', () => {
  const predictions = Array.from({ length: 10 }, (_, i) => ({ id: `p${i}`, atMs: now - (20 - i) * hour }))
  const span = { ...maturedSpan(now, 10 * hour, 10 * hour), nowMs: now }
  const label = (predictionId: string, more: Partial<Label> = {}): Label => ({
    predictionId,
    value: 1,
    observedMs: now - 5 * hour,
    arrivedMs: now - 4 * hour,
    revision: 1,
    ...more,
  })

  it('contains the predictions of its span with the labels that had arrived', () => {
    const cohort = maturedCohort(
      predictions,
      predictions.map(({ id }) => label(id)),
      span,
    )
    expect(cohort).toMatchObject({ status: 'ok', predictions: 10, coverage: 1, unknown: 0 })
    const early = maturedCohort(
      predictions,
      predictions.map(({ id }) => label(id, { arrivedMs: now + 1 })),
      span,
    )
    expect(early).toMatchObject({ status: 'insufficient', coverage: 0, labelled: [] })
  })

  it('does not shift while only the positive labels have arrived', () => {
    const positives = predictions.slice(0, 3).map(({ id }) => label(id))
    expect(maturedCohort(predictions, positives, span).status).toBe('insufficient')
    expect(
      maturedCohort(
        predictions,
        predictions.slice(0, 8).map(({ id }) => label(id)),
        span,
      ).status,
    ).toBe('ok')
  })

  it('leaves out predictions too young or too old', () => {
    const others = [
      { id: 'young', atMs: now - hour },
      { id: 'old', atMs: now - 30 * hour },
    ]
    const cohort = maturedCohort(others, [label('young'), label('old')], span)
    expect(cohort).toMatchObject({ status: 'insufficient', predictions: 0, coverage: null })
  })

  it('takes the latest revision, whatever order they come in', () => {
    const labels = [
      label('p0', { value: 0, revision: 2 }),
      label('p0', { value: 1, revision: 1 }),
      label('p1', { value: 0 }),
      label('p1', { value: 1, arrivedMs: now - hour }),
    ]
    const cohort = maturedCohort(predictions, labels, span)
    expect(cohort.labelled).toEqual([
      { predictionId: 'p0', value: 0 },
      { predictionId: 'p1', value: 1 },
    ])
    expect([cohort.revised, cohort.doubled]).toEqual([1, 1])
  })

  it('counts labels of unknown predictions and from the future, and excludes both', () => {
    const labels = [label('unknown'), label('p2', { observedMs: now, arrivedMs: now - hour })]
    expect(maturedCohort(predictions, labels, span)).toMatchObject({
      unknown: 1,
      fromFuture: 1,
      labelled: [],
    })
  })
})

describe('skew', () => {
  const row = (
    served: Record<string, number | string | null>,
    replayed: Record<string, number | string | null> | null,
  ) => ({
    predictionId: 'p',
    served,
    replayed,
  })

  it('excludes differences within a millionth', () => {
    const rows = [row({ a: 1, b: 1e9, c: 'x', d: null }, { a: 1 + 9e-7, b: 1e9 + 900, c: 'x', d: null })]
    expect(findSkew(rows)).toMatchObject({ status: 'ok', compared: 1, columns: [] })
  })

  it.each([
    ['a number', { a: 1 }, { a: 1.00001 }],
    ['a text', { a: 'x' }, { a: 'y' }],
    ['a missing value', { a: null }, { a: 0 }],
    ['a column that training does not have', { a: 1 }, {}],
    ['a column that serving does not have', {}, { a: 1 }],
    ['a number that became text', { a: 1 }, { a: '1' }],
    ['NaN for a number', { a: 1 }, { a: NaN }],
  ])('is %s that differs', (_, served, replayed) => {
    expect(findSkew([row(served, replayed)])).toMatchObject({
      status: 'skew',
      mismatchedRows: 1,
      columns: [{ name: 'a', mismatches: 1 }],
    })
  })

  it('names the columns, most mismatches first, with the largest difference and an example', () => {
    const rows = [
      row({ a: 1, b: 1 }, { a: 2, b: 1 }),
      { ...row({ a: 1, b: 1 }, { a: 5, b: 3 }), predictionId: 'q' },
      row({ a: 1 }, null),
    ]
    expect(findSkew(rows)).toEqual({
      status: 'skew',
      compared: 2,
      notReplayed: 1,
      mismatchedRows: 2,
      columns: [
        { name: 'a', mismatches: 2, maxDifference: 4, example: 'p' },
        { name: 'b', mismatches: 1, maxDifference: 2, example: 'q' },
      ],
    })
  })

  it('is unknown when nothing could be replayed', () => {
    expect(findSkew([row({ a: 1 }, null)])).toMatchObject({ status: 'no_data', notReplayed: 1 })
    expect(findSkew([])).toMatchObject({ status: 'no_data', compared: 0 })
  })
})
