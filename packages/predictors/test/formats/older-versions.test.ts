/** Tests files of older library versions, whose format differs from today's. */
import { describe, expect, it } from 'vitest'
import { readForest } from '../../src/formats/trees/read-forest.ts'
import { compareAnswers, readOlderCases } from '../support/parity.ts'

const cases = readOlderCases()

interface XgboostTree {
  left_children: number[]
  split_type: number[]
  split_conditions: (number | null)[]
}
/** Returns a packed XGBoost model with changed trees. */
function changed(name: string, change: (tree: XgboostTree) => void): Buffer {
  const text = cases.find((each) => each.name === name)!.bytes.toString('utf8')
  const file = JSON.parse(text.replaceAll(/\bnan\b/gi, 'null')) as {
    learner: { gradient_booster: { model: { trees: XgboostTree[] } } }
  }
  for (const tree of file.learner.gradient_booster.model.trees) change(tree)
  return Buffer.from(JSON.stringify(file))
}

describe('answers', () => {
  it.each(cases)('of $name equal those of the version that saved it', ({ bytes, rows, answers }) => {
    const { worst, otherLeaves } = compareAnswers({ bytes, rows, answers })
    expect(rows.length).toBe(60)
    expect(worst).toBeLessThanOrEqual(1e-6)
    expect(otherLeaves).toBe(0)
  })
})

describe('an XGBoost without a number', () => {
  it.each([
    ['in a leaf', (tree: XgboostTree, at: number) => tree.left_children[at] === -1],
    [
      'in a split of numbers',
      (tree: XgboostTree, at: number) => tree.left_children[at] !== -1 && tree.split_type[at] === 0,
    ],
  ])('%s is refused', (_, isChosen) => {
    const bytes = changed('xgboost-1.7.6-categories', (tree) => {
      tree.split_conditions = tree.split_conditions.map((value, at) => (isChosen(tree, at) ? null : value))
    })
    expect(() => readForest(bytes)).toThrow(/split_conditions of tree 0 has NaN or infinity/)
  })

  it('in a leaf of several values is refused with fewer weights than nodes', () => {
    const bytes = changed('xgboost-3.1.3-vector-leaves', (tree) => {
      ;(tree as unknown as { base_weights: number[] }).base_weights.pop()
    })
    expect(() => readForest(bytes)).toThrow(/tree 0 has \d+ of \d+ values of base_weights/)
  })
})
