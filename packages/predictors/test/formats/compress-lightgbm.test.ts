/** Tests that compressed LightGBM files are smaller and differ by no more than their bound, over the models of LightGBM and over random trees. */
import { seededRandom } from '@tenure/sequential'
import { describe, expect, it } from 'vitest'
import {
  compressTrees,
  fewestTrees,
  type TreeCompression,
} from '../../src/formats/trees/compress-lightgbm.ts'
import type { Forest } from '../../src/formats/trees/forest.ts'
import { predictorOf } from '../../src/formats/trees/predictor.ts'
import { readForest } from '../../src/formats/trees/read-forest.ts'
import { encodedRows, readCases } from '../support/parity.ts'

const cases = readCases().filter(({ name }) => name.startsWith('lightgbm-') && !name.includes('linear'))
const bytesOf = (name: string) => readCases().find((each) => each.name === name)!.bytes

const answersOf = (forest: Forest, rows: readonly Float64Array[]): number[][] => {
  const { predictOne, outputs } = predictorOf(forest)
  const answer = new Float64Array(outputs)
  return rows.map((row) => {
    predictOne(row, 0, answer, 0)
    return [...answer]
  })
}
const rawOf = (forest: Forest, rows: readonly Float64Array[]) =>
  answersOf({ ...forest, link: () => {} }, rows)
const largestDifference = (one: readonly number[][], other: readonly number[][]): number =>
  Math.max(...one.flatMap((row, at) => row.map((value, k) => Math.abs(value - other[at]![k]!))))

const halfOf = (forest: Forest): TreeCompression => {
  const perRound = forest.starts.length
  return { to: 'fewer-trees', trees: perRound * Math.ceil(forest.roots.length / perRound / 2) }
}

describe.each(cases)('$name', ({ bytes, rows }) => {
  const forest = readForest(bytes)
  const inputs = encodedRows({ bytes, rows }).map((row) => Float64Array.from(row))
  const methods: TreeCompression[] = [{ to: 'float16' }, { to: 'int8' }]
  if (forest.roots.length > forest.starts.length) methods.push(halfOf(forest))
  it.each(methods)('is smaller with $to and differs by no more than its bound', (how) => {
    const { bytes: made, rawBound, answerBound, leaves } = compressTrees(bytes, how)
    const child = readForest(made)
    expect(made.byteLength).toBeLessThan(bytes.byteLength)
    expect(child.leaves.length).toBe(leaves.child)
    expect(largestDifference(rawOf(forest, inputs), rawOf(child, inputs))).toBeLessThanOrEqual(rawBound)
    if (answerBound !== undefined)
      expect(largestDifference(answersOf(forest, inputs), answersOf(child, inputs))).toBeLessThanOrEqual(
        answerBound,
      )
  })
})

/** Trees of LightGBM's file, of which a leaf is one of few values, so that siblings are often equal. */
function randomFile(seed: number): Buffer {
  const uniform = seededRandom(seed)
  const values = Array.from({ length: 6 }, () => (uniform() - 0.5) * 10 ** Math.floor(uniform() * 6 - 4))
  const trees = Array.from({ length: 1 + Math.floor(uniform() * 8) }, (_, index) => {
    const count = 2 + Math.floor(uniform() * 12)
    // Each node splits a leaf, as LightGBM grows its trees.
    const [lefts, rights] = [[~0], [~1]]
    for (let node = 1; node < count - 1; node++) {
      const leaf = Math.floor(uniform() * (node + 1))
      for (const side of [lefts, rights]) if (side.includes(~leaf)) side[side.indexOf(~leaf)] = node
      lefts.push(~leaf)
      rights.push(~(node + 1))
    }
    const perNode = (of: () => unknown) => lefts.map(of).join(' ')
    return `Tree=${index}
num_leaves=${count}
num_cat=0
split_feature=${perNode(() => Math.floor(uniform() * 3))}
threshold=${perNode(() => uniform() * 2 - 1)}
decision_type=${perNode(() => 2)}
left_child=${lefts.join(' ')}
right_child=${rights.join(' ')}
leaf_value=${Array.from({ length: count }, () => values[Math.floor(uniform() * 6)]).join(' ')}
leaf_count=${Array.from({ length: count }, () => 1).join(' ')}
shrinkage=1


`
  })
  return Buffer.from(`tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=2
objective=regression
feature_names=a b c
feature_infos=[-1:1] [-1:1] [-1:1]
tree_sizes=${trees.map(({ length }) => length).join(' ')}

${trees.join('')}end of trees

feature_importances:

parameters:
end of parameters
`)
}

describe('random trees', () => {
  const uniform = seededRandom(7)
  const rows = Array.from({ length: 200 }, () => Float64Array.from({ length: 3 }, () => uniform() * 2 - 1))
  it.each(['float16', 'int8'] as const)(
    'differ with %s by no more than the bound, and have no equal siblings',
    (to) => {
      let merged = 0
      for (let seed = 1; seed <= 300; seed++) {
        const bytes = randomFile(seed)
        const { bytes: made, rawBound, leaves } = compressTrees(bytes, { to })
        const [parent, child] = [readForest(bytes), readForest(made)]
        expect(largestDifference(rawOf(parent, rows), rawOf(child, rows))).toBeLessThanOrEqual(rawBound)
        merged += leaves.parent - leaves.child
        const { passed, failed, leaves: values } = child
        for (const [node, left] of passed.entries()) {
          const right = failed[node]!
          if (left < 0 && right < 0) expect(values[~left]).not.toBe(values[~right])
        }
        // LightGBM finds the trees by their sizes.
        const text = Buffer.from(made).toString()
        const sizes = /^tree_sizes=(.*)$/m.exec(text)![1]!.split(' ').map(Number)
        let at = text.indexOf('Tree=0')
        for (const [index, size] of sizes.entries()) {
          expect(text.startsWith(`Tree=${index}\n`, at)).toBe(true)
          at += size
        }
        expect(text.startsWith('end of trees', at)).toBe(true)
      }
      expect(merged).toBeGreaterThan(300)
    },
  )

  it('are as few as are within a mean difference, as all longer prefixes are', () => {
    const bytes = randomFile(11)
    const all = readForest(bytes)
    const input = Float64Array.from(rows.flatMap((row) => [...row]))
    const meanOf = (trees: number) => {
      if (trees === all.roots.length) return 0
      const child = readForest(compressTrees(bytes, { to: 'fewer-trees', trees }).bytes)
      const [one, other] = [rawOf(all, rows), rawOf(child, rows)]
      return one.reduce((sum, [value], at) => sum + Math.abs(value! - other[at]![0]!), 0) / rows.length
    }
    const fewest = (mean: number) => fewestTrees(bytes, { input, rows: rows.length, width: 3, mean })
    expect(() => fewest(0)).toThrow(`no fewer than all ${all.roots.length} trees answer these rows within 0`)
    for (const mean of [0.01, 0.1, 1, 10]) {
      const trees = fewest(mean)
      for (let longer = trees; longer <= all.roots.length; longer++)
        expect(meanOf(longer)).toBeLessThanOrEqual(mean)
      if (trees > 1) expect(meanOf(trees - 1)).toBeGreaterThan(mean)
    }
  })
})

describe('leaf values of 16 bits', () => {
  const leavesOf = (...values: number[]): number[] => {
    const file = randomFile(1).toString()
    const section = file.slice(0, file.indexOf('Tree=0')).replace(/tree_sizes=.*/, 'tree_sizes=1')
    const tree = `Tree=0\nnum_leaves=${values.length}\nnum_cat=0\nsplit_feature=0\nthreshold=0\ndecision_type=2\nleft_child=-1\nright_child=-2\nleaf_value=${values.join(' ')}\nshrinkage=1\n\n\n`
    const bytes = Buffer.from(
      `${section}${tree}end of trees\n\nfeature_importances:\n\nparameters:\nend of parameters\n`,
    )
    return [...readForest(compressTrees(bytes, { to: 'float16' }).bytes).leaves]
  }
  it('are the shortest decimals of their 16 bits', () => {
    expect(leavesOf(1 / 3, -0.11321943507783633)).toEqual([0.3333, -0.1132])
    // Subnormal numbers have a fixed unit of 2⁻²⁴.
    expect(leavesOf(1e-7, 65_519)).toEqual([1e-7, 65_500])
    expect(leavesOf(2, 2.0001)).toEqual([2])
  })
  it('are refused beyond the largest number', () => {
    expect(() => leavesOf(1, 65_520)).toThrow(/the leaf value 65520 is beyond the numbers of 16 bits/)
  })
})

it('bounds no difference of probabilities by more than 1', () => {
  const file = randomFile(3).toString().replace('objective=regression', 'objective=binary sigmoid:1')
  const far = Buffer.from(file.replaceAll(/leaf_value=\S+/g, 'leaf_value=90'))
  expect(compressTrees(far, { to: 'fewer-trees', trees: 1 })).toMatchObject({ answerBound: 1 })
})

it.each([
  ['lightgbm-linear-0', { to: 'float16' }, /the leaves are linear/],
  ['xgboost-binary-0', { to: 'int8' }, /only the trees of LightGBM \(model\.txt\) can be compressed/],
  [
    'lightgbm-binary-0',
    { to: 'fewer-trees', trees: 4 },
    /4 of 4 trees cannot be kept: name a number from 1 to 3/,
  ],
  [
    'lightgbm-classes-0',
    { to: 'fewer-trees', trees: 4 },
    /from 3 to 9, a multiple of 3, which are the trees of one round/,
  ],
] as const)('refuses %s with %j', (name, how, why) => {
  expect(() => compressTrees(bytesOf(name), how)).toThrow(why)
})
