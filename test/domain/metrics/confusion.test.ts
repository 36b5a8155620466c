import { expect, it } from 'vitest'
import { confusionAt } from '../../../domain/metrics/confusion.ts'

const scored = { predicted: [0.9, 0.6, 0.5, 0.4, 0.1], observed: [1, 0, 1, 1, 0] }

it('counts decisions at the threshold, a probability at it as a positive', () => {
  expect(confusionAt(scored, 0.5)).toEqual({
    threshold: 0.5,
    truePositives: 2,
    falsePositives: 1,
    falseNegatives: 1,
    trueNegatives: 1,
    accuracy: 3 / 5,
    precision: 2 / 3,
    recall: 2 / 3,
  })
})

it('has no precision without predicted positives, and no recall without positives', () => {
  expect(confusionAt(scored, 1)).toMatchObject({ precision: null, recall: 0 })
  expect(confusionAt({ predicted: [0.9], observed: [0] }, 0.5)).toMatchObject({ recall: null, precision: 0 })
  expect(confusionAt({ predicted: [], observed: [] }, 0.5).accuracy).toBeNull()
})
