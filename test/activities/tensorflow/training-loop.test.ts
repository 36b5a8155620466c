/** Tests the options of `fit`. */
import { describe, expect, it } from 'vitest'
import { makeFit, type FitDeps } from '../../../activities/tensorflow/training-loop.ts'

describe('fit', () => {
  const sizes: number[] = []
  const deps = {
    seed: 1,
    of: '',
    data: { rows: 70, inputs: 1, outputs: 1, encode() {}, targets: new Float32Array(70) },
    tf: { tensor2d: (_: Float32Array, [count]: [number]) => ({ count }), dispose() {} },
    onBatch: () => Promise.resolve(),
    onEpoch: () => Promise.reject(new Error('one epoch is enough')),
  } as unknown as FitDeps
  const network = { trainOnBatch: ({ count }: { count: number }) => sizes.push(count) } as never

  it('uses 32 rows per step by default', async () => {
    await expect(makeFit(deps)(network, { epochs: 1 })).rejects.toThrow()
    expect(sizes).toEqual([32, 32, 6])
  })

  it.each([
    [
      { epochs: 1, validationSplit: 0.2 },
      'fit: takes the options epochs, batchSize and stopEarly, not validationSplit',
    ],
    [{ epochs: 1, batchSize: 0 }, 'fit: batchSize is a whole number from 1, not 0'],
    [{ batchSize: 8 }, 'fit: epochs is a whole number from 1, not undefined'],
  ])('refuses %j', async (options, message) => {
    await expect(makeFit(deps)(network, options as never)).rejects.toMatchObject({
      code: 'training_failed',
      message: expect.stringContaining(message) as unknown,
    })
  })
})
