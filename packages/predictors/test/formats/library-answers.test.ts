/** Tests the parts of library files beyond the trees: rounds after the best one, links, values near zero and category names. */
import { readFileSync } from 'node:fs'
import { xgboostStarts } from '../../src/formats/trees/xgboost.ts'
import { describe, expect, it } from 'vitest'
import { readForest } from '../../src/formats/trees/read-forest.ts'
import { treesFormat } from '../../src/formats/trees/format.ts'
import type { Forest } from '../../src/formats/trees/forest.ts'
import { predictorOf } from '../../src/formats/trees/predictor.ts'
import type { Output } from '../../src/features.ts'
import { changedModel } from '../support/hostile/hostile-models.ts'
import { compareAnswers, readCases } from '../support/parity.ts'

const bytesOf = (name: string): Buffer => readCases().find((each) => each.name === `${name}-0`)!.bytes

interface XgboostFile {
  learner: {
    attributes: Record<string, string>
    gradient_booster: {
      model: {
        trees: unknown[]
        iteration_indptr?: number[]
        cats?: { enc: { offsets: number[]; values: number[] }[] }
      }
    }
  }
}

function xgboost(
  name: string,
  change: (learner: XgboostFile['learner']) => void,
  more: { version?: number[] } = {},
): Forest {
  const file = { ...(JSON.parse(bytesOf(name).toString('utf8')) as XgboostFile), ...more }
  change(file.learner)
  return readForest(Buffer.from(JSON.stringify(file)))
}

function answerOf(forest: Forest, row: readonly number[]): number[] {
  const { outputs, predictOne } = predictorOf(forest)
  const answer = new Float64Array(outputs)
  predictOne(Float64Array.from(row), 0, answer, 0)
  return [...answer]
}

describe('an XGBoost that stopped early', () => {
  const stopped = { best_iteration: '1' }
  const fromScikit = { ...stopped, scikit_learn: '{}' }
  it.each([
    ['xgboost-binary', 2],
    ['xgboost-classes', 6],
    ['xgboost-forest', 10],
    ['xgboost-vector-leaves', 2],
  ])('predicts with the rounds up to the best one where XGBClassifier has saved it: %s', (name, trees) => {
    const forest = xgboost(name, (learner) => (learner.attributes = fromScikit))
    expect(forest.roots.length).toBe(trees)
  })

  it('predicts so where the file does not say where rounds begin', () => {
    const forest = xgboost('xgboost-classes', (learner) => {
      learner.attributes = fromScikit
      delete learner.gradient_booster.model.iteration_indptr
    })
    expect(forest.roots.length).toBe(6)
  })

  it('predicts with all rounds where Booster has saved it', () => {
    const forest = xgboost('xgboost-binary', (learner) => (learner.attributes = stopped))
    expect(forest.roots.length).toBe(readForest(bytesOf('xgboost-binary')).roots.length)
    expect(forest.roots.length).toBeGreaterThan(2)
  })

  it.each(['40', '-1', 'many'])('is refused with the best round %s, which it does not have', (best) => {
    const read = () =>
      xgboost('xgboost-binary', (learner) => (learner.attributes = { ...fromScikit, best_iteration: best }))
    expect(read).toThrow(/best_iteration is .*, which the \d+ trees of the file do not have/)
  })
})

describe('the names of categories in an XGBoost file', () => {
  const named = (bytes: Buffer, offsets: number[], version = [3, 2, 0]): Forest =>
    xgboost(
      'xgboost-categories',
      (learner) => {
        learner.gradient_booster.model.cats = { enc: [{ offsets, values: [...new Int8Array(bytes)] }] }
      },
      { version },
    )

  it('are read where they are ASCII', () =>
    expect(named(Buffer.from('redwhite'), [0, 3, 8]).columns[0]!.categories).toEqual(['red', 'white']))

  it('are ignored where letters were counted instead of bytes', () => {
    // XGBoost 3.2 writes this for grün, rot and weiß.
    const cut = Buffer.from('grünrotweiß').subarray(0, 11)
    expect(named(cut, [0, 4, 7, 11]).columns[0]).toEqual({ name: 'f0', hasCutNames: true })
    // 3.4 has saved the file of an earlier version again.
    expect(named(Buffer.from('aéb'), [0, 2, 4], [3, 4, 1]).columns[0]).toEqual({
      name: 'f0',
      hasCutNames: true,
    })
    // Each part is whole, but the first was "éa".
    expect(named(Buffer.from('éab'), [0, 2, 3]).columns[0]).toEqual({ name: 'f0', hasCutNames: true })
  })

  it('are read as XGBoost 3.4 writes them, also where they are not ASCII', () => {
    const whole = Buffer.from('O’Neil日本😀rot')
    expect(named(whole, [0, 8, 14, 18, 21], [3, 4, 1]).columns[0]!.categories).toEqual([
      'O’Neil',
      '日本',
      '😀',
      'rot',
    ])
    expect(named(whole, [0, 8, 14, 18], [3, 4, 1]).columns[0]).toEqual({ name: 'f0', hasCutNames: true })
  })
})

describe('the classes of a CatBoost file', () => {
  const output = { kind: 'classes', classes: ['basic', 'standard', 'luxury'] } as const
  const inspect = (names: unknown[], of: Output = output) => {
    const document = JSON.parse(bytesOf('catboost-classes').toString('utf8')) as {
      model_info: { class_params?: object }
    }
    document.model_info.class_params = { class_label_type: 'String', class_names: names }
    return treesFormat.inspect({ 'model.json': Buffer.from(JSON.stringify(document)) }, of)
  }

  it("are refused in another order than the model file's", () =>
    expect(() => inspect(['basic', 'luxury', 'standard'])).toThrow(
      /has the classes basic, luxury, standard in this order, the model basic, standard, luxury/,
    ))

  it('are refused as numbers in another order with what to write, because they cannot be told from places', () =>
    expect(() => inspect([0, 1, 2], { kind: 'classes', classes: ['2', '0', '1'] })).toThrow(
      /in this order, the model 2, 0, 1: list the classes in the model file in the order of their numbers/,
    ))

  it.each([[['basic', 'standard', 'luxury']], [[0, 1, 2]]])('%j are accepted', (names) =>
    expect(inspect(names)).toMatchObject({ library: 'CatBoost', outputs: 3 }),
  )

  it('are refused where the positive class of two is the first', () =>
    expect(() => inspect(['blooms', 'withers'], { kind: 'probability', positive: 'blooms' })).toThrow(
      /has the classes blooms, withers in this order, the model withers, blooms/,
    ))
})

describe('the links of CatBoost', () => {
  const row = [0.3, -1, 0.5, 2, 0, 1, -0.2, 0.7]
  const linked = (name: string, from: RegExp, to: string): number[] =>
    answerOf(readForest(changedModel(name, from, to)), row)

  it('give a probability for the focal loss', () => {
    const wanted = answerOf(readForest(bytesOf('catboost-binary')), row)
    expect(linked('catboost-binary', /"type":\s*"Logloss"/, '"type":"Focal"')).toEqual(wanted)
  })

  it('give a mean and a variance for RMSEWithUncertainty', () => {
    const [mean, logDeviation] = answerOf(readForest(bytesOf('catboost-two-outputs')), row)
    expect(linked('catboost-two-outputs', /"type":\s*"MultiRMSE"/, '"type":"RMSEWithUncertainty"')).toEqual([
      mean,
      Math.exp(2 * logDeviation!),
    ])
  })
})

describe('a LightGBM tree', () => {
  const near = Math.fround(1e-35)
  const beyond = 1.01e-35
  const tree = (threshold: number): Forest =>
    readForest(
      Buffer.from(
        `tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=0\nobjective=regression\nfeature_names=a\n` +
          `feature_infos=[-1:1]\n\nTree=0\nnum_leaves=2\nnum_cat=0\nsplit_feature=0\nthreshold=${threshold}\n` +
          `decision_type=2\nleft_child=-1\nright_child=-2\nleaf_value=1 2\n\nend of trees\n\nfeature_importances:\n`,
      ),
    )
  // LightGBM 4.7 predicts this for a matrix of numbers; it reads values near zero as 0.
  it.each([
    [-near, -beyond, 1],
    [-near, -near, 2],
    [-near, -1e-36, 2],
    [-near, 0, 2],
    [-1e-36, -1e-36, 2],
    [-1e-36, -beyond, 1],
    [0, 1e-36, 1],
    [0, near, 1],
    [0, beyond, 2],
    [near, near, 1],
    [near, beyond, 2],
  ])('split at %d sends %d to leaf %d', (threshold, value, leaf) =>
    expect(answerOf(tree(threshold), [value])).toEqual([leaf]),
  )
})

describe("pandas' categories in a LightGBM file", () => {
  /** Returns the columns of a file with these values in training and this last line. */
  const columnsOf = (infos: readonly string[], lists: string): Forest['columns'] => {
    const text = bytesOf('lightgbm-binary')
      .toString('utf8')
      .replace(/feature_infos=.*/, (line) =>
        [`feature_infos=${infos.join(' ')}`, ...line.split(' ').slice(infos.length)].join(' '),
      )
    return readForest(Buffer.from(`${text}\npandas_categorical:${lists}\n`)).columns.slice(0, infos.length)
  }
  const colours = ['red', 'white']
  const stores = [7, 8, 9]

  it('belong to the column of codes', () =>
    expect(columnsOf(['-1:1:0'], '[["red","white"]]')[0]!.categories).toEqual(colours))

  it('belong to a column of codes after one whose codes exceed them', () =>
    expect(
      columnsOf(['-1:1:0:2', '-1:0:1'], '[["red","white"]]').map(({ categories }) => categories),
    ).toEqual([undefined, colours]))

  it('belong to an ordered column and to a constant one', () => {
    const lists = JSON.stringify([colours, stores])
    for (const info of ['[0:1]', 'none'])
      expect(columnsOf([info, '-1:1:0:2'], lists).map(({ categories }) => categories)).toEqual([
        colours,
        stores,
      ])
  })

  it('belong to the columns of codes where each has a list, and not to a number of 0 and 1', () => {
    const lists = JSON.stringify([colours, stores])
    for (const other of ['[0:1]', '[0:2]'])
      expect(
        columnsOf([other, '-1:1:0', '-1:0:2', other], lists).map(({ categories }) => categories),
      ).toEqual([undefined, colours, stores, undefined])
    // A category that had one value in training.
    expect(columnsOf(['none', '-1:0:2', '[0:1]'], lists).map(({ categories }) => categories)).toEqual([
      colours,
      stores,
      undefined,
    ])
  })

  it('belong to no column for certain where they fit several', () => {
    // An ordered size, colours, and a number of 0 and 1.
    const lists = JSON.stringify([['s', 'm', 'l'], stores])
    expect(columnsOf(['[0:2]', '-1:1:0:2', '[0:1]', '[-3.2:3.9]'], lists)).toEqual([
      { name: expect.any(String) as string, possibleCategories: [['s', 'm', 'l']] },
      { name: expect.any(String) as string, possibleCategories: [['s', 'm', 'l'], stores] },
      { name: expect.any(String) as string, possibleCategories: [stores] },
      { name: expect.any(String) as string },
    ])
  })

  it.each([
    ['[["red","white"', /truncated or damaged: its last line, pandas_categorical, is not valid JSON/],
    ['', /is not valid JSON/],
    ['["red"]', /pandas_categorical is not a list of lists/],
    ['[["red"]]', /has 1 lists, which do not fit the columns/],
  ])('are refused as %s', (line, why) => expect(() => columnsOf(['-1:1:0'], line)).toThrow(why))
})

describe('the base score of XGBoost', () => {
  /** The probability of no tree at all. */
  const answer = (score: string, minor: number) => {
    const [start] = xgboostStarts(score, 'binary:logistic', { outputs: 1, version: { major: 3, minor } })
    return 1 / (1 + Math.exp(-start!))
  }
  // XGBoost 3.2 to 3.4 answer 1.0e-6 for a base score of 1e-8, and 0.9999989 for 1; 3.0 answers 1e-8.
  it('is kept a millionth from 0 and 1 since version 3.2', () => {
    expect(answer('[1E-8]', 2)).toBeCloseTo(1e-6, 9)
    expect(answer('[1E-8]', 0)).toBeCloseTo(1e-8, 12)
    expect(answer('[0E0]', 4)).toBeCloseTo(1e-6, 9)
    expect(1 - answer('[1E0]', 4)).toBeCloseTo(1.07e-6, 8)
    expect(answer('[2E-6]', 4)).toBeCloseTo(2e-6, 9)
    expect(() => answer('[0E0]', 1)).toThrow('base_score 0 is not a probability')
    expect(() => answer('[2E0]', 4)).toThrow('base_score 2 is not a probability')
  })
})

it('a LightGBM of several numbers, which the Python package has joined of one model each, answers like LightGBM', () => {
  const file = new URL('../../../python/tests/joined_lightgbm.json', import.meta.url)
  const { joined, rows, answers } = JSON.parse(readFileSync(file, 'utf8')) as {
    joined: string
    rows: Record<string, number | string>[]
    answers: number[][]
  }
  const cells = rows.map((row) => Object.values(row))
  const { worst, otherLeaves } = compareAnswers({ bytes: Buffer.from(joined), rows: cells, answers })
  expect(worst).toBeLessThan(1e-6)
  expect(otherLeaves).toBe(0)
})
