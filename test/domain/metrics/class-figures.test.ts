/** Tests the quality of each class, by hand and against the AUC of its definition. */
import { expect, it } from 'vitest'
import { seededRandom } from '@tenure/sequential'
import { classFigures } from '../../../domain/metrics/class-figures.ts'

const names = ['a', 'b', 'c']
const certain = (k: number) => names.map((_, at) => (at === k ? 0.8 : 0.1))

it('counts precision and recall of each class; null where nothing is of it or predicted as it', () => {
  // Truth a, a, b, b; predicted a, b, b, b.
  const figures = classFigures([0, 0, 1, 1], names, { challenger: [0, 1, 1, 1].map(certain), champion: null })
  expect(figures).toMatchObject([
    { name: 'a', rows: 2, champion: null, challenger: { precision: 1, recall: 0.5 } },
    { name: 'b', rows: 2, champion: null, challenger: { precision: 2 / 3, recall: 1 } },
    { name: 'c', rows: 0, champion: null, challenger: { precision: null, recall: null, auc: null } },
  ])
})

it('the AUC of a class is the share of its pairs with other rows that its probability orders, of both models', () => {
  const random = seededRandom(5)
  const y = Array.from({ length: 60 }, (_, row) => row % 3)
  const drawn = () => y.map((label) => names.map((_, k) => random() + (k === label ? 0.3 : 0)))
  const answers = { challenger: drawn(), champion: drawn() }
  for (const side of ['challenger', 'champion'] as const)
    classFigures(y, names, answers).forEach((figures, k) => {
      const of = (isOwn: boolean) =>
        answers[side].filter((_, row) => (y[row] === k) === isOwn).map((answer) => answer[k]!)
      const pairs = of(true).flatMap((own) =>
        of(false).map((other) => Number(own > other) + Number(own === other) / 2),
      )
      expect(figures[side]!.auc).toBeCloseTo(pairs.reduce((sum, pair) => sum + pair, 0) / pairs.length, 12)
    })
})
