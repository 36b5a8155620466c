/** Tests that compressed files of trees are smaller and differ by no more than their bound, over the models of all libraries and over random trees. */
import { seededRandom } from '@tenure/sequential'
import { describe, expect, it } from 'vitest'
import { boundsOf, compressTrees, fewestTrees } from '../../src/formats/trees/compress-trees.ts'
import type { Forest } from '../../src/formats/trees/forest.ts'
import { predictorOf } from '../../src/formats/trees/predictor.ts'
import { readForest } from '../../src/formats/trees/read-forest.ts'
import { roundings } from '../../src/formats/trees/round-leaves.ts'
import { encodedRows, readCases, readOlderCases } from '../support/parity.ts'

const all = [...readCases(), ...readOlderCases()]
/** Linear leaves and vector leaves of XGBoost cannot be compressed. */
const isRefused = (name: string) => /linear|vector/.test(name)
const cases = all.filter(({ name }) => !isRefused(name))
const bytesOf = (name: string) => all.find((each) => each.name === name)!.bytes

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

describe.each(cases)('$name', ({ name, bytes, rows }) => {
  const forest = readForest(bytes)
  const inputs = encodedRows({ bytes, rows }).map((row) => Float64Array.from(row))
  const expectBound = (made: ReturnType<typeof compressTrees>): void => {
    const child = readForest(made.bytes)
    expect(made.bytes.byteLength).toBeLessThan(bytes.byteLength)
    expect(child.leaves.length / child.width).toBe(made.leaves.child)
    expect(largestDifference(rawOf(forest, inputs), rawOf(child, inputs))).toBeLessThanOrEqual(made.rawBound)
    if (made.answerBound !== undefined)
      expect(largestDifference(answersOf(forest, inputs), answersOf(child, inputs))).toBeLessThanOrEqual(
        made.answerBound,
      )
  }
  it('answers the same without what no answer needs', () => {
    const made = compressTrees(bytes, { to: 'lossless' })
    expect(made).toMatchObject({ rawBound: 0, answerBound: 0 })
    expectBound(made)
  })
  it.each(['float16', 'int8'] as const)('differs with %s by no more than its bound', (to) => {
    // The few leaves of these trees stay different, and XGBoost has 32 bits for each.
    if (name.startsWith('xgboost-'))
      expect(() => expectBound(compressTrees(bytes, { to }))).toThrow(/saves no byte beyond lossless/)
    else expectBound(compressTrees(bytes, { to }))
  })
  it.skipIf(name.endsWith('constant-0'))('differs with fewer trees by no more than its bound', () => {
    const { trees, leaves } = compressTrees(bytes, { to: 'lossless' })
    const refused = /a multiple of (\d+)/.exec(
      messageOf(() => compressTrees(bytes, { to: 'fewer-trees', trees: 0 })),
    )
    const perRound = Number(refused?.[1] ?? 1)
    const made = compressTrees(bytes, {
      to: 'fewer-trees',
      trees: perRound * Math.ceil(trees.parent / perRound / 2),
    })
    expect(made.leaves.child).toBeLessThan(leaves.child)
    expectBound(made)
  })
})

const messageOf = (run: () => unknown): string => {
  try {
    return String(run())
  } catch (error) {
    return (error as Error).message
  }
}

/** An XGBoost file, of which the leaves of a tree are close to each other but one. */
function closeLeaves(name: string): Buffer {
  const file = JSON.parse(bytesOf(name).toString().replaceAll('NaN', 'null')) as XgboostFile
  for (const { left_children: lefts, split_conditions: values } of file.learner.gradient_booster.model.trees)
    for (const [at, left] of lefts.entries())
      if (left === -1) values[at] = lefts.indexOf(-1) === at ? 300 : 1 + (at % 5) / 10_000
  return Buffer.from(JSON.stringify(file))
}
interface XgboostFile {
  learner: {
    gradient_booster: { model: { trees: { left_children: number[]; split_conditions: number[] }[] } }
  }
}

describe('leaves of XGBoost that have become equal', () => {
  it.each(['xgboost-binary-0', 'xgboost-categories-0', 'xgboost-classes-0', 'xgboost-1.6.2-categories'])(
    'of %s are one leaf, and answers differ by no more than the bound',
    (name) => {
      const bytes = closeLeaves(name)
      const inputs = encodedRows({ bytes, rows: all.find((each) => each.name === name)!.rows }).map((row) =>
        Float64Array.from(row),
      )
      const forest = readForest(bytes)
      for (const to of ['float16', 'int8'] as const) {
        const made = compressTrees(bytes, { to })
        const difference = largestDifference(rawOf(forest, inputs), rawOf(readForest(made.bytes), inputs))
        expect(difference).toBeLessThanOrEqual(made.rawBound)
        expect(made.leaves.child).toBeLessThan(made.leaves.parent)
      }
    },
  )
})

describe('the bound', () => {
  const parent = readForest(bytesOf('xgboost-binary-0'))
  const child = readForest(compressTrees(bytesOf('xgboost-binary-0'), { to: 'lossless' }).bytes)
  it('has every wrong leaf', () => {
    for (let leaf = 0; leaf < child.leaves.length; leaf++) {
      const leaves = child.leaves.with(leaf, child.leaves[leaf]! + 0.5)
      expect(boundsOf(parent, { ...child, leaves }).rawBound).toBeGreaterThanOrEqual(0.5)
    }
  })
  it.each([
    ['threshold', { thresholds: child.thresholds.with(2, 0.123) }],
    ['column', { tests: child.tests.with(2, (child.tests[2]! + 1) % child.slots.length) }],
    ['order of nodes', { passed: child.failed, failed: child.passed }],
    ['start', { starts: Float64Array.of(1) }],
    ['output', { groups: child.groups.with(1, 1) }],
  ])('is refused for another %s', (_, changed) => {
    expect(() => boundsOf(parent, { ...child, ...changed })).toThrow(
      /of the compressed file has another split|sums other trees/,
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

it.each([
  [0, 5e-324],
  [-1e308, 1e308],
  [-1e-300, 1e300],
])(
  'leaves of %d and %d, whose distance has no step, are rounded within the bound or refused',
  (low, high) => {
    const text = randomFile(1).toString()
    const bytes = Buffer.from(text.replaceAll(/leaf_value=\S+ \S+/g, `leaf_value=${low} ${high}`))
    const bound = () => {
      const { rawBound } = compressTrees(bytes, { to: 'int8' })
      expect(rawBound).toBeGreaterThanOrEqual(0)
    }
    expect(messageOf(bound)).toMatch(/^undefined$|saves no byte|beyond|finite/)
  },
)

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
  it('are the shortest decimals of their 16 bits', () => {
    expect(roundings.float16([1 / 3, -0.11321943507783633])).toEqual([0.3333, -0.1132])
    // Subnormal numbers have a fixed unit of 2⁻²⁴.
    expect(roundings.float16([1e-7, 65_519])).toEqual([1e-7, 65_500])
    expect(roundings.float16([2, 2.0001])).toEqual([2, 2])
  })
  it('are refused beyond the largest number', () => {
    for (const value of [65_520, -65_520])
      expect(() => roundings.float16([1, value])).toThrow(
        `the leaf value ${value} is beyond the numbers of 16 bits`,
      )
  })
})

it('bounds no difference of probabilities by more than 1', () => {
  const file = randomFile(3).toString().replace('objective=regression', 'objective=binary sigmoid:1')
  const far = Buffer.from(file.replaceAll(/leaf_value=\S+/g, 'leaf_value=90'))
  expect(compressTrees(far, { to: 'fewer-trees', trees: 1 })).toMatchObject({ answerBound: 1 })
})

it.each([
  ['lightgbm-linear-0', { to: 'float16' }, /the leaves are linear/],
  ['xgboost-vector-leaves-0', { to: 'lossless' }, /the leaves have several values \(multi_output_tree\)/],
  ['xgboost-binary-0', { to: 'int8' }, /int8 saves no byte beyond lossless/],
  ['xgboost-forest-0', { to: 'fewer-trees', trees: 7 }, /from 5 to 15, a multiple of 5/],
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
