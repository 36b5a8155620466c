/** Tests the prediction cache: exact rows, of one model, within its limits. */
import { describe, expect, it } from 'vitest'
import { createPredictionCache } from '../../../../api/serving/version/prediction-cache.ts'
import type { Predictor } from '@tenure/predictors'

/** Adds a number to the value of each row asynchronously, and records the computed rows. */
function adder(number: number) {
  const asked: number[] = []
  const predictor: Predictor = {
    inputs: 1,
    outputs: 1,
    async run(input, rows, output) {
      await Promise.resolve()
      for (let row = 0; row < rows; row++) {
        asked.push(input[row]!)
        output[row] = input[row]! + number
      }
    },
  }
  return { predictor, asked }
}

async function ask({ run }: Predictor, ...values: number[]): Promise<number[]> {
  const output = new Float32Array(values.length)
  await run(Float64Array.from(values), values.length, output)
  return [...output]
}

describe('the prediction cache', () => {
  it('returns cached rows and computes the others only', async () => {
    const { predictor, asked } = adder(1)
    const cache = createPredictionCache({ entries: 10 })
    const cached = cache.cached(predictor)
    expect(await ask(cached, 1, 2)).toEqual([2, 3])
    expect(await ask(cached, 2, 3, 1)).toEqual([3, 4, 2])
    expect(asked).toEqual([1, 2, 3])
    expect(cache.counts()).toMatchObject({ hits: 2, misses: 3, entries: 3 })
    expect(cached.run(Float64Array.of(3), 1, new Float32Array(1))).toBeUndefined()
  })

  it('separates the rows of models, and deletes those of a closed model', async () => {
    const [one, two] = [adder(1), adder(10)]
    const cache = createPredictionCache({ entries: 10 })
    const [first, second] = [cache.cached(one.predictor), cache.cached(two.predictor)]
    expect([await ask(first, 5), await ask(second, 5), await ask(first, 5)]).toEqual([[6], [15], [6]])
    first.close!()
    expect(cache.counts().entries).toBe(1)
    expect(await ask(second, 5)).toEqual([15])
    expect(two.asked).toEqual([5])
  })

  it('keeps its maximum number of rows, the most recently used', async () => {
    const { predictor, asked } = adder(1)
    const cache = createPredictionCache({ entries: 2 })
    const cached = cache.cached(predictor)
    for (const value of [1, 2, 1, 3, 1, 2]) await ask(cached, value)
    expect(asked).toEqual([1, 2, 3, 2])
    expect(cache.counts().entries).toBe(2)
  })

  it('keeps its maximum number of bytes', async () => {
    const cache = createPredictionCache({ entries: 1_000, bytes: 2_000 })
    const cached = cache.cached(adder(1).predictor)
    for (let i = 0; i < 100; i++) await ask(cached, i)
    expect(cache.counts().bytes).toBeLessThanOrEqual(2_000)
    expect(cache.counts().entries).toBeGreaterThan(5)
    expect(cache.counts().entries).toBeLessThan(15)
  })

  it('is not used for shadow rows', async () => {
    const { predictor, asked } = adder(1)
    const cached = createPredictionCache({ entries: 10 }).cached(predictor)
    const order = { background: true, cancelled: false, begunMs: 0 }
    for (let i = 0; i < 2; i++) await cached.run(Float64Array.of(1), 1, new Float32Array(1), order)
    expect(asked).toEqual([1, 1])
  })
})
