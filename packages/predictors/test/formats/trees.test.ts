/** Tests that trees give the outputs of their libraries, and that no file of trees can harm the process that reads it. */
import { describe, expect, it } from 'vitest'
import { columnValue } from '../../src/formats/trees/column-value.ts'
import { readForest } from '../../src/formats/trees/read-forest.ts'
import { predictorOf } from '../../src/formats/trees/predictor.ts'
import { compareAnswers, readCases } from '../support/parity.ts'

const cases = readCases()
const caseOf = (name: string) => cases.find((each) => each.name === `${name}-0`)!

describe('answers', () => {
  it.each(cases)("of $name equal the library's", ({ bytes, rows, answers }) => {
    const { worst, otherLeaves } = compareAnswers({ bytes, rows, answers })
    expect(rows.length).toBeGreaterThan(25)
    expect(worst).toBeLessThanOrEqual(1e-6)
    expect(otherLeaves).toBe(0)
  })

  it('are the same for a row between others', () => {
    const { bytes, rows } = caseOf('lightgbm-classes')
    const predictor = predictorOf(readForest(bytes))
    const many = Float64Array.from(rows.slice(0, 3).flat(), (value) => columnValue({ name: '' }, value)!)
    const alone = new Float64Array(3)
    const together = new Float64Array(9)
    predictor.predictOne(many, predictor.inputs, alone, 0)
    for (let row = 0; row < 3; row++) predictor.predictOne(many, row * predictor.inputs, together, row * 3)
    expect(together.subarray(3, 6)).toEqual(alone)
  })
})

it('a tree of XGBoost that was pruned answers as its remaining nodes', () => {
  interface Tree {
    [field: string]: number[]
  }
  const { bytes, rows } = caseOf('xgboost-categories')
  const answersWith = (change: (tree: Tree, node: number) => void): number[] => {
    const file = JSON.parse(bytes.toString('utf8')) as {
      learner: { gradient_booster: { model: { trees: Tree[] } } }
    }
    const tree = file.learner.gradient_booster.model.trees[0]!
    const isLeaf = (at: number) => tree['left_children']![at] === -1
    const node = tree['left_children']!.findIndex(
      (left, at) => at > 0 && !isLeaf(at) && isLeaf(left) && isLeaf(tree['right_children']![at]!),
    )
    change(tree, node)
    const forest = readForest(Buffer.from(JSON.stringify(file)))
    const { predictOne, inputs } = predictorOf(forest)
    return rows.map((row) => {
      const [input, answer] = [new Float64Array(inputs), new Float64Array(1)]
      for (const [at, column] of forest.columns.entries()) input[at] = columnValue(column, row[at])!
      predictOne(input, 0, answer, 0)
      return answer[0]!
    })
  }
  const childrenOf = (tree: Tree, node: number) => [
    tree['left_children']![node]!,
    tree['right_children']![node]!,
  ]
  const equal = answersWith((tree, node) => {
    for (const child of childrenOf(tree, node)) tree['split_conditions']![child] = 0.25
  })
  const pruned = answersWith((tree, node) => {
    for (const child of childrenOf(tree, node)) tree['split_indices']![child] = 2 ** 31 - 1
    Object.assign(tree['left_children']!, { [node]: -1 })
    Object.assign(tree['right_children']!, { [node]: -1 })
    tree['split_conditions']![node] = 0.25
  })
  expect(pruned).toEqual(equal)
  expect(pruned).not.toEqual(answersWith(() => {}))
})

describe('values of a column', () => {
  const plain = { name: 'age' }
  const named = { name: 'city', categories: ['Bern', 'Oslo'] }
  const months = { name: 'month', categories: [1, 4, 7] }
  const flags = { name: 'flag', categories: [true] }
  it.each([
    [plain, 3, 3],
    [plain, null, NaN],
    [plain, undefined, NaN],
    [plain, true, 1],
    [plain, 'inf', Infinity],
    [plain, '-Infinity', -Infinity],
    [plain, 'nan', NaN],
    [plain, 'Oslo', undefined],
    [plain, [], undefined],
    [named, 'Oslo', 1],
    [named, 'Rome', NaN],
    [named, null, NaN],
    [named, 1, NaN],
    [named, [], undefined],
    [months, 7, 2],
    [months, 2, NaN],
    [months, true, 0],
    [months, '7', 2],
    [months, '2', NaN],
    [{ name: 'zip', categories: ['7', '10'] }, 10, 1],
    [flags, 'true', 0],
    [flags, true, 0],
    [flags, 1, 0],
    [flags, false, NaN],
  ])('%j of %j is %d', (column, value, wanted) => expect(columnValue(column, value)).toBe(wanted))
})

describe('a file that is not a model', () => {
  const changed = (name: string, from: string | RegExp, to: string): Buffer => {
    const text = caseOf(name).bytes.toString('utf8')
    const after = text.replace(from, to)
    expect(after).not.toBe(text)
    return Buffer.from(after)
  }
  const whole = caseOf('lightgbm-binary').bytes
  const boosters = caseOf('xgboost-binary').bytes
  const deep = `${'{"learner":'.repeat(100_000)}1${'}'.repeat(100_000)}`
  const refused: [string, () => Buffer, RegExp][] = [
    ['empty', () => Buffer.alloc(0), /is empty/],
    ['a pickle', () => Buffer.from('\x80\x04\x95abc', 'latin1'), /is a pickle, which runs code/],
    ['a pickle of version 0', () => Buffer.from('ccopy_reg\n_reconstructor\np0\n'), /is a pickle/],
    [
      'a pointer of Git LFS',
      () => Buffer.from('version https://git-lfs.github.com/spec/v1\n'),
      /git lfs pull/,
    ],
    ['a web page', () => Buffer.from('<!DOCTYPE html><html>'), /a web page: download the file itself/],
    ['PMML', () => Buffer.from('<?xml version="1.0"?><PMML>'), /ONNX in place of PMML/],
    ['UTF-16', () => Buffer.from('\ufefftree\nversion=v4', 'utf16le'), /byte order mark/],
    ['UTF-8 with a mark', () => Buffer.from('\ufefftree\nversion=v4'), /byte order mark/],
    ['a dump of XGBoost', () => Buffer.from('booster[0]:\n0:[f0<1]'), /a dump of XGBoost.*save_model/],
    ['a dump of XGBoost as JSON', () => Buffer.from('[\n  { "nodeid": 0'), /a dump of XGBoost.*save_model/],
    ['a dump of LightGBM', () => Buffer.from('{"name": "tree", "version"'), /a dump of LightGBM.*save_model/],
    ['an indented dump of LightGBM', () => Buffer.from('{\n  "name": "tree",\n'), /a dump of LightGBM/],
    ['a SavedModel of TensorFlow', () => Buffer.from('\x08\x01\x12\x80', 'latin1'), /a SavedModel.*tf2onnx/],
    ['safetensors', () => Buffer.from('\x08\x02\0\0\0\0\0\0{"w":{', 'latin1'), /weights alone.*as ONNX/],
    ['layers without weights', () => Buffer.from('{"modelTopology":{}}'), /not a model of LightGBM/],
    ['a zip archive', () => Buffer.from('PK\x03\x04'), /export the model as ONNX/],
    ['an HDF5 file', () => Buffer.from('\x89HDF\r\n', 'latin1'), /HDF5/],
    ['compressed', () => Buffer.from([0x1f, 0x8b, 8]), /unpack it/],
    ['an old binary of XGBoost', () => Buffer.from('binf....'), /save the model as .json or .ubj/],
    ['a binary of CatBoost', () => Buffer.from('CBM1....'), /format='json'/],
    ['some text', () => Buffer.from('a,b\n1,2\n'), /not a model of LightGBM/],
    ['another JSON', () => Buffer.from('{"a": 1}'), /not a model of LightGBM/],
    ['deeply nested', () => Buffer.from(deep), /gradient_booster|not complete JSON/],
    ['truncated text', () => whole.subarray(0, whole.length / 2), /truncated/],
    ['two models of LightGBM', () => Buffer.concat([whole, whole]), /holds two models, one after the other/],
    ['truncated JSON', () => boosters.subarray(0, boosters.length / 2), /not complete JSON/],
    [
      'truncated UBJSON',
      () => caseOf('xgboost-binary-ubj').bytes.subarray(0, 900),
      /UBJSON file (is truncated|has a length)/,
    ],
    ['UBJSON with a list of nothing', () => Buffer.from('{U\x01a[$Z#U\x09}'), /list of Z/],
    [
      'of 2^31 leaves',
      () => changed('lightgbm-binary', /num_leaves=\d+/, 'num_leaves=2147483648'),
      /num_leaves/,
    ],
    [
      'of leaves that are not there',
      () => changed('lightgbm-binary', /num_leaves=\d+/, 'num_leaves=2000000000'),
      /2000000000 nodes, more than/,
    ],
    ['of an unknown version', () => changed('lightgbm-binary', 'version=v4', 'version=v9'), /"v9" is not v2/],
    [
      'with a column too many',
      () => changed('lightgbm-binary', 'Column_0 ', ''),
      /names 7 columns and uses 8/,
    ],
    [
      'with a column that does not exist',
      () => changed('lightgbm-binary', /split_feature=\d+/, 'split_feature=99'),
      /reads column 99 of 8/,
    ],
    [
      'with a threshold that is not a number',
      () => changed('lightgbm-binary', /threshold=\S+/, 'threshold=nan'),
      /threshold that is not a number/,
    ],
    [
      'with an infinite leaf',
      () => changed('lightgbm-binary', /leaf_value=\S+/, 'leaf_value=inf'),
      /leaf value that is not a finite/,
    ],
    ['with a cycle', () => changed('lightgbm-binary', /left_child=\S+/, 'left_child=0'), /has a cycle/],
    [
      'with a child that does not exist',
      () => changed('lightgbm-binary', /left_child=\S+/, 'left_child=4096'),
      /child that does not exist/,
    ],
    [
      'of too many outputs',
      () => changed('lightgbm-binary', /num_tree_per_iteration=\d+/, 'num_tree_per_iteration=2000000000'),
      /outputs, more than/,
    ],
    [
      'of too many columns',
      () => changed('xgboost-binary', /"num_feature":"8"/g, '"num_feature":"4000000000"'),
      /columns, more than/,
    ],
    [
      'of too many classes',
      () => changed('xgboost-binary', /"num_class":"0"/, '"num_class":"4000000000"'),
      /outputs, more than/,
    ],
    [
      'of another booster',
      () => changed('xgboost-binary', '"name":"gbtree"', '"name":"gblinear"'),
      /the booster is "gblinear".*: train one of them, or a linear model/,
    ],
    [
      'of the settings of XGBoost',
      () => Buffer.from('{"learner":{"gradient_booster":{"name":"gbtree"}},"version":[3,2,0]}'),
      /no trees: save_config writes settings, save the model with save_model/,
    ],
    [
      'with a base score that is not a probability',
      () => changed('xgboost-binary', /"base_score":"[^"]+"/, '"base_score":"[2E0]"'),
      /not a probability/,
    ],
    [
      'with a leaf too few',
      () => changed('catboost-binary', /"leaf_values":\s*\[[^,]+,/, '"leaf_values":['),
      /leaf values for/,
    ],
    ...Object.entries({
      categorical: 'train it by a script and save it with job.save_catboost',
      text: 'train it by a script and save it with job.save_catboost',
      embedding: 'train it on columns of numbers',
    }).map(([kind, remedy]): [string, () => Buffer, RegExp] => [
      `with ${kind} features`,
      () => changed('catboost-binary', /"features_info":\s*\{/, `"features_info":{"${kind}_features":[{}],`),
      new RegExp(`${kind} features, which CatBoost alone computes: ${remedy}`),
    ]),
  ]
  it.each(refused)('%s: is refused by name', (_, make, message) =>
    expect(() => readForest(make())).toThrow(message),
  )
})

it('an XGBoost file with NaN among numbers that no answer needs answers as without it, and one with a NaN leaf is refused', () => {
  const given = readCases().find(({ name }) => name === 'xgboost-binary-0')!
  const text = given.bytes.toString('utf8')
  const changed = (name: string): Buffer =>
    Buffer.from(text.replace(new RegExp(`("${name}":\\[)[^,\\]]+`), '$1NaN'))
  expect(changed('base_weights').toString()).toContain('"base_weights":[NaN')
  expect(compareAnswers({ ...given, bytes: changed('base_weights') }).worst).toBeLessThanOrEqual(1e-6)
  expect(() => compareAnswers({ ...given, bytes: changed('split_conditions') })).toThrow(
    /of tree 0 has NaN or infinity/,
  )
})
