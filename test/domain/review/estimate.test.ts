import { describe, expect, it } from 'vitest'
import type { Output } from '../../../domain/tasks/output.ts'
import { compileReview } from '../../../domain/review/band.ts'
import { estimateReviewed } from '../../../domain/review/estimate.ts'
import { seededRandom } from '@tenure/sequential'

describe('the band for review', () => {
  const yesNo: Output = {
    kind: 'probability',
    positive: 'late',
    threshold: 0.5,
    review: { from: 0.4, to: 0.6 },
  }
  const classes: Output = { kind: 'classes', classes: ['a', 'b', 'c'], review: { below: 0.6 } }

  it('has both ends of the probabilities, in the 32 bits of outputs', () => {
    const outputs = Float32Array.of(0.39, 0.4, 0.6, 0.61)
    expect([0, 1, 2, 3].map((row) => compileReview(yesNo)!(outputs, row))).toEqual([false, true, true, false])
  })
  it('has the rows of classes whose largest probability is below', () => {
    const outputs = Float32Array.of(0.59, 0.3, 0.11, 0.6, 0.3, 0.1)
    expect([0, 1].map((row) => compileReview(classes)!(outputs, row))).toEqual([true, false])
  })
  it('is absent where none is declared', () => {
    expect(compileReview({ ...yesNo, review: undefined })).toBeUndefined()
    expect(compileReview({ kind: 'number' })).toBeUndefined()
  })
})

describe('the accuracy with reviews', () => {
  const band = { predictions: 200, known: 100, right: 60 }
  const rest = { predictions: 800, known: 80, right: 76 }

  it('weighs each part by its predictions', () => {
    const { accuracy, error, pooled } = estimateReviewed([band, rest])
    expect(accuracy).toBeCloseTo(0.2 * 0.6 + 0.8 * 0.95, 12)
    expect(pooled).toBeCloseTo(136 / 180, 12)
    const [p, q] = [61 / 102, 77 / 82]
    expect(error).toBeCloseTo(Math.sqrt((0.04 * p * (1 - p)) / 100 + (0.64 * q * (1 - q)) / 80), 12)
  })
  it('is not known while a part with predictions has no known truth', () => {
    expect(estimateReviewed([band, { ...rest, known: 0, right: 0 }])).toEqual({
      accuracy: null,
      error: null,
      pooled: 0.6,
    })
    expect(estimateReviewed([])).toEqual({ accuracy: null, error: null, pooled: null })
  })
  it('is the accuracy of one part where the other has no predictions', () =>
    expect(estimateReviewed([band, { predictions: 0, known: 0, right: 0 }]).accuracy).toBeCloseTo(0.6, 12))

  // Nine in ten answers of the band are reviewed; one in ten of the others has an outcome.
  it('has no bias where the pooled share has one, and its error covers, in 4,000 simulated weeks', () => {
    const uniform = seededRandom(7)
    const runs = 4_000
    const answers = 2_000
    let [weighted, pooled, covered, truth] = [0, 0, 0, 0]
    for (let run = 0; run < runs; run++) {
      const parts = [
        { predictions: 0, known: 0, right: 0 },
        { predictions: 0, known: 0, right: 0 },
      ]
      let right = 0
      for (let i = 0; i < answers; i++) {
        const p = uniform()
        const isBand = p >= 0.4 && p <= 0.6
        const isRight = uniform() < Math.max(p, 1 - p)
        const part = parts[isBand ? 0 : 1]!
        part.predictions++
        right += Number(isRight)
        if (uniform() >= (isBand ? 0.9 : 0.1)) continue
        part.known++
        part.right += Number(isRight)
      }
      const estimate = estimateReviewed(parts)
      weighted += estimate.accuracy! / runs
      pooled += estimate.pooled! / runs
      truth += right / answers / runs
      if (Math.abs(estimate.accuracy! - 0.75) <= 2 * estimate.error!) covered++
    }
    expect(truth).toBeCloseTo(0.75, 2)
    expect(Math.abs(weighted - truth)).toBeLessThan(0.002)
    expect(pooled).toBeLessThan(truth - 0.1)
    expect(covered / runs).toBeGreaterThan(0.93)
  })
})
