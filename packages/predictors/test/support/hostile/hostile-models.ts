/**
 * Generates model files that are small or syntactically valid, but would exhaust memory, run for minutes or give wrong answers in a reader
 * that trusts them: mismatched counts, overlapping lists, values of the wrong type, duplicate names.
 */
import { readCases } from '../parity.ts'
import { treeModel } from '../onnx-trees.ts'
import { floats, graph, message, model, node, tensor, varint } from '../onnx-writer.ts'

export type HostileFile = readonly [name: string, make: () => Buffer, message: RegExp]

const cases = readCases()
export const bytesOfModel = (name: string): Buffer => cases.find((each) => each.name === `${name}-0`)!.bytes

/** Returns a packed model with one place changed. */
export function changedModel(name: string, from: string | RegExp, to: string): Buffer {
  const text = bytesOfModel(name).toString('utf8')
  const after = text.replace(from, to)
  if (after === text) throw new Error(`nothing to replace in ${name}`)
  return Buffer.from(after)
}

type Json = Record<string, unknown>

/** Builds an XGBoost model with one tree whose first split is categorical. */
export function xgboostTree(change: (tree: Json) => void, rest: (model: Json) => void = () => {}): Buffer {
  const file = JSON.parse(bytesOfModel('xgboost-categories').toString('utf8')) as Json
  const model = (file as { learner: { gradient_booster: { model: { trees: Json[] } } } }).learner
    .gradient_booster.model
  change(model.trees[0]!)
  rest(model as unknown as Json)
  return Buffer.from(JSON.stringify(file))
}

/** Builds a balanced tree with this many nodes, each with a categorical split. */
function categoryTree(nodes: number, sets: Json): (tree: Json) => void {
  const all = 2 * nodes + 1
  const list = (of: (node: number) => number) => Array.from({ length: all }, (_, node) => of(node))
  return (tree) =>
    Object.assign(tree, sets, {
      left_children: list((node) => (node < nodes ? 2 * node + 1 : -1)),
      right_children: list((node) => (node < nodes ? 2 * node + 2 : -1)),
      split_indices: list(() => 3),
      split_conditions: list(() => 0),
      default_left: list(() => 0),
      split_type: list(() => 1),
      categories_nodes: Array.from({ length: nodes }, (_, node) => node),
    })
}
const ofEach = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value)

interface CatboostFile extends Json {
  features_info: { float_features: Json[] }
  oblivious_trees: { splits: { border: unknown }[]; leaf_values: unknown[] }[]
}
export function catboost(change: (file: CatboostFile) => void): Buffer {
  const file = JSON.parse(bytesOfModel('catboost-binary').toString('utf8')) as CatboostFile
  change(file)
  return Buffer.from(JSON.stringify(file))
}
/** Builds symmetric trees of 16 levels, which expand to many more nodes than splits. */
const deepTrees = (count: number) =>
  catboost((file) => {
    const [first] = file.oblivious_trees
    const tree = { splits: ofEach(16, first!.splits[0]!), leaf_values: [] }
    file.oblivious_trees = ofEach(count, tree)
  })

const million = 1_000_000
const manyNames = Array.from({ length: million }, (_, at) => (million + at).toString(36).padStart(6, '_'))
const repeated = (part: string | Buffer, count: number): Buffer => {
  const bytes = Buffer.from(part)
  return Buffer.alloc(bytes.byteLength * count, bytes)
}
const field = (number: number, content: Buffer): Buffer =>
  Buffer.concat([varint(number * 8 + 2), varint(content.byteLength), content])
const onnxOf = (graphBytes: Buffer): Buffer => Buffer.concat([message({ 1: 10 }), field(7, graphBytes)])
const plain = node({ op: 'Identity', inputs: ['x'], outputs: ['y'] })
const absent = (dims: number[], type: number): Buffer =>
  model(graph({ nodes: [plain], initializers: [message({ 1: dims, 2: type, 8: 'w' })] }))

/** Builds a LightGBM file with this much text after a field name in its header. */
const lightgbmHead = (name: string, text: Buffer): Buffer => {
  const [before, after] = bytesOfModel('lightgbm-binary')
    .toString('utf8')
    .split(new RegExp(`(?<=\n${name}=)`))
  return Buffer.concat([Buffer.from(before!), text, Buffer.from(after!)])
}
const pandasList = (...parts: (string | Buffer)[]): Buffer =>
  Buffer.concat(['\npandas_categorical:[[', ...parts, ']]\n'].map((part) => Buffer.from(part)))
const distinctFields = (count: number): Buffer =>
  Buffer.from(`\n${Array.from({ length: count }, (_, at) => at.toString(36)).join('\n')}\n`)

export const hostileModels: readonly HostileFile[] = [
  [
    'lightgbm-boundaries.txt',
    () => changedModel('lightgbm-categories', /cat_boundaries=0 \d+/, 'cat_boundaries=1 0'),
    /cat_boundaries .* not in order/,
  ],
  [
    'lightgbm-set.txt',
    () => changedModel('lightgbm-categories', /cat_threshold=\d+/, 'cat_threshold=0.5'),
    /category set .* not a whole number of 32 bits/,
  ],
  [
    'lightgbm-decision.txt',
    () => changedModel('lightgbm-binary', /decision_type=\d+/, 'decision_type=nan'),
    /value of decision_type that is not a whole number/,
  ],
  [
    'lightgbm-linear.txt',
    () => changedModel('lightgbm-linear', /num_features=(\d+) (\d+)/, 'num_features=-1 5'),
    /num_features/,
  ],
  [
    'lightgbm-twice.txt',
    () => changedModel('lightgbm-binary', /(leaf_value=.*\n)/, '$1leaf_value=1\n'),
    /"leaf_value" twice/,
  ],
  [
    'lightgbm-fields.txt',
    () => lightgbmHead('objective', distinctFields(million / 2)),
    /more than 1000 lines/,
  ],
  [
    'lightgbm-names.txt',
    () => lightgbmHead('feature_names', repeated('a ', 8 * million)),
    /names more than 8 columns/,
  ],
  [
    'lightgbm-trees.txt',
    () => lightgbmHead('objective', repeated('\nTree=1', 4 * million)),
    /20001 trees, more than/,
  ],
  [
    'lightgbm-lines.txt',
    () => lightgbmHead('objective', repeated('\n', 4 * million)),
    /1000001 lines, more than/,
  ],
  [
    'lightgbm-sizes.txt',
    () => lightgbmHead('tree_sizes', repeated('1 ', 6 * million)),
    /has 60000\d\d of \d+ values of tree_sizes/,
  ],
  [
    'lightgbm-infos.txt',
    () => Buffer.concat([lightgbmHead('feature_infos', repeated('0:', 4 * million)), pandasList('"a"')]),
    /1000001 codes of a column, more than/,
  ],
  [
    'lightgbm-pandas-texts.txt',
    () => Buffer.concat([bytesOfModel('lightgbm-binary'), pandasList(repeated('"a",', 3 * million), '"a"')]),
    /3000001 texts, more than/,
  ],
  [
    'lightgbm-lost-tree.txt',
    () => changedModel('lightgbm-binary', /Tree=1\n[^]*?(?=Tree=2\n)/, ''),
    /the file of \d+ trees has \d+ of \d+ values of tree_sizes/,
  ],
  [
    'lightgbm-tree-again.txt',
    () => changedModel('lightgbm-binary', /Tree=1\n/, 'Tree=0\n'),
    /tree 1 of the file is named 0/,
  ],
  [
    'lightgbm-latin1.txt',
    () =>
      Buffer.from(
        bytesOfModel('lightgbm-binary').toString().replace('feature_names=', 'feature_names=süß '),
        'latin1',
      ),
    /is not UTF-8/,
  ],
  [
    'lightgbm-pandas.txt',
    () =>
      Buffer.concat([
        bytesOfModel('lightgbm-binary'),
        Buffer.from('\npandas_categorical:['),
        repeated('[],', 4 * million),
        Buffer.from('[]]\n'),
      ]),
    /lists and objects, more than/,
  ],
  [
    'lightgbm-objective.txt',
    () => changedModel('lightgbm-binary', /objective=binary/, 'objective=bogus'),
    /the objective "bogus" is not known/,
  ],
  ...['0', '-1', 'nan', '1e999'].map((slope): HostileFile => [
    `lightgbm-slope-${slope}.txt`,
    () => changedModel('lightgbm-binary', /objective=.*/, `objective=binary sigmoid:${slope}`),
    /the objective is "binary sigmoid:/,
  ]),
  [
    'lightgbm-classes.txt',
    () => changedModel('lightgbm-classes', /num_class:3/, 'num_class:7'),
    /num_class:7.*, and num_tree_per_iteration 3/,
  ],
  [
    'lightgbm-rounds.txt',
    () => changedModel('lightgbm-binary', /num_tree_per_iteration=1/, 'num_tree_per_iteration=7'),
    /trees and a num_tree_per_iteration of 7/,
  ],
  [
    'lightgbm-linear-twice.txt',
    () => changedModel('lightgbm-binary', /is_linear=0/, 'is_linear=2'),
    /0 of \d+ values of leaf_const/,
  ],
  [
    'xgboost-objective-null.json',
    () => changedModel('xgboost-binary', /"name":"binary:logistic"/, '"name":"reg:bogus"'),
    /the objective "reg:bogus" is not known: train with one of binary:logistic/,
  ],
  [
    'xgboost-text.json',
    () => Buffer.concat([Buffer.from('{"learner":"'), repeated('a', 10 * million), Buffer.from('"}')]),
    /bytes in one text, more than 8000000/,
  ],
  [
    'xgboost-weights.json',
    () =>
      xgboostTree(
        () => {},
        (all) => (all['weight_drop'] = [1]),
      ),
    /trees and 1 weights in weight_drop/,
  ],
  [
    'xgboost-weights-none.json',
    () =>
      xgboostTree(
        () => {},
        (all) => (all['weight_drop'] = 'all'),
      ),
    /weight_drop is not a list/,
  ],
  [
    'xgboost-weights-text.json',
    () =>
      xgboostTree(
        () => {},
        (all) => (all['weight_drop'] = (all['trees'] as unknown[]).map(() => 'one')),
      ),
    /weight_drop has a weight that is not a number/,
  ],
  [
    'xgboost-keys.json',
    () => Buffer.from(`{"learner":{${manyNames.map((name) => `"${name}":1`).join(',')}}}`),
    /10001 names in one object, more than/,
  ],
  [
    'xgboost-keys.ubj',
    () => Buffer.from(`{i\x07learner{${manyNames.map((name) => `i\x06${name}Z`).join('')}}}`),
    /10001 names in one object, more than/,
  ],
  ['catboost-both.json', () => catboost((file) => (file['trees'] = [])), /both oblivious_trees and trees/],
  [
    'xgboost-overlap.json',
    () =>
      xgboostTree(
        categoryTree(2_000, {
          categories: Array.from({ length: 100_000 }, (_, code) => code),
          categories_segments: ofEach(2_000, 0),
          categories_sizes: ofEach(2_000, 100_000),
        }),
      ),
    /categories that are not in order/,
  ],
  [
    'xgboost-great-codes.json',
    () =>
      xgboostTree(
        categoryTree(4_000, {
          categories: Array.from({ length: 4_000 }, (_, at) => 999_999 - at),
          categories_segments: Array.from({ length: 4_000 }, (_, at) => at),
          categories_sizes: ofEach(4_000, 1),
        }),
      ),
    /words of category sets, more than/,
  ],
  [
    'xgboost-twice.json',
    () => changedModel('xgboost-binary', /"trees":\[/, '"trees":[],"trees":['),
    /"trees" twice in one object/,
  ],
  [
    'xgboost-twice-escaped.json',
    () => changedModel('xgboost-binary', /"trees":\[/, '"tr\\u0065es":[{"a":"\\"}:{"}],"trees":['),
    /"trees" twice in one object/,
  ],
  [
    'xgboost-latin1.json',
    () =>
      Buffer.from(changedModel('xgboost-binary', /"learner":/, '"süß":1,"learner":').toString(), 'latin1'),
    /is not UTF-8/,
  ],
  ...['', '0x1', '.', '1e'].map((score): HostileFile => [
    `xgboost-base-${score}.json`,
    () => changedModel('xgboost-binary', /"base_score":"[^"]*"/, `"base_score":"${score}"`),
    /base_score is ".{0,3}", not a finite number/,
  ]),
  [
    'xgboost-names.json',
    () => changedModel('xgboost-binary', /"feature_names":\[[^\]]*\]/, '"feature_names":["a"]'),
    /names 1 columns and uses 8/,
  ],
  [
    'xgboost-lost-tree.json',
    () => changedModel('xgboost-binary', /"num_trees":"\d+"/, '"num_trees":"3"'),
    /\d+ trees and a num_trees of "3"/,
  ],
  [
    'catboost-border.json',
    () => changedModel('catboost-binary', /"border":\s*[-\d.e]+/, '"border":123.25'),
    /border is not the one at its split_index/,
  ],
  [
    'catboost-place.json',
    () => changedModel('catboost-binary', /"split_index":\s*\d+/, '"split_index":99999'),
    /border is not the one at its split_index/,
  ],
  [
    'catboost-missing.json',
    () => changedModel('catboost-binary', /"nan_value_treatment":\s*"\w+"/, '"nan_value_treatment":"AsZero"'),
    /nan_value_treatment "AsZero" is unknown/,
  ],
  [
    'catboost-column-twice.json',
    () => changedModel('catboost-binary', /"flat_feature_index":\s*1\b/, '"flat_feature_index":0'),
    /two features have one flat_feature_index/,
  ],
  [
    'xgboost-null.json',
    () => changedModel('xgboost-binary', /"split_conditions":\[[^,]+/, '"split_conditions":[null'),
    /split_conditions .* NaN or infinity/,
  ],
  [
    'xgboost-group.json',
    () =>
      xgboostTree(
        () => {},
        (all) => (all['tree_info'] = [0.5, 0, 0, 0]),
      ),
    /adds to output 0.5/,
  ],
  [
    'xgboost-lists.json',
    () => Buffer.concat([Buffer.from('{"learner":['), repeated('[],', 4 * million), Buffer.from('[]]}')]),
    /lists and objects, more than/,
  ],
  [
    'xgboost-values.json',
    () => Buffer.concat([Buffer.from('{"learner":['), repeated('0,', 11 * million), Buffer.from('0]}')]),
    /11000000 values, more than/,
  ],
  [
    'xgboost-lists.ubj',
    () => Buffer.concat([Buffer.from('{i\x07learner['), repeated('[]', 4 * million), Buffer.from(']}')]),
    /lists and objects, more than/,
  ],
  [
    'xgboost-nulls.ubj',
    () => Buffer.concat([Buffer.from('{i\x07learner['), repeated('Z', 4 * million), Buffer.from(']}')]),
    /values, more than/,
  ],
  ['xgboost-negative.ubj', () => Buffer.from('{i\x07learner[$d#i\xff]}', 'latin1'), /a length of -1/],
  [
    'xgboost-long.ubj',
    () => Buffer.from('{i\x07learner[$D#l\x7f\xff\xff\xff', 'latin1'),
    /a length of 2147483647/,
  ],
  ['xgboost-twice.ubj', () => Buffer.from('{i\x07learner{}i\x07learner{}}'), /learner" twice/],
  [
    'catboost-null.json',
    () => changedModel('catboost-binary', /"border":\s*[-\d.e]+/, '"border":null'),
    /threshold that is not a number/,
  ],
  ['catboost-levels.json', () => deepTrees(125), /nodes, more than/],
  [
    'catboost-features.json',
    () =>
      catboost((file) => {
        const [first] = file.features_info.float_features
        file.features_info.float_features = ofEach(50_000, { ...first, borders: [] })
      }),
    /50000 columns, more than/,
  ],
  [
    'catboost-kinds.json',
    () => catboost((file) => Object.assign(file.features_info, { float_features: { length: 1 } })),
    /cannot be read as a model|float_features is not a list/,
  ],
  [
    'root.onnx',
    () =>
      model(
        graph({
          nodes: [
            node({
              op: 'TreeEnsemble',
              domain: 'ai.onnx.ml',
              inputs: ['x'],
              outputs: ['y'],
              attributes: {
                n_targets: 1,
                tree_roots: [-1],
                nodes_featureids: [0],
                nodes_modes: { tensor: tensor('', [1], 2, Buffer.of(0)) },
                nodes_splits: { tensor: tensor('', [1], 1, floats([0.5])) },
                nodes_truenodeids: [0],
                nodes_falsenodeids: [0],
                nodes_trueleafs: [1],
                nodes_falseleafs: [1],
                leaf_targetids: [0],
                leaf_weights: { tensor: tensor('', [1], 1, floats([1])) },
              },
            }),
          ],
        }),
        { 'ai.onnx.ml': 5 },
      ),
    /a tree has the root -1, which does not exist/,
  ],
  [
    'functions.onnx',
    () => Buffer.concat([onnxOf(graph({ nodes: [plain] })), field(25, message({ 1: 'f', 7: [plain] }))]),
    /functions of its own/,
  ],
  [
    'dropout.onnx',
    () =>
      model(
        graph({
          nodes: [node({ op: 'Dropout', inputs: ['x', '', 'training'], outputs: ['y'] })],
          initializers: [message({ 2: 9, 8: 'training', 9: Buffer.from([1]) })],
        }),
      ),
    /Dropout is set to training.*export the model for inference/,
  ],
  ['absent.onnx', () => absent([2 ** 13, 2 ** 12], 1), /holds 0 values for the shape/],
  ['absent-texts.onnx', () => absent([2 ** 31], 8), /has the shape \[2147483648\]/],
  ['overflowing.onnx', () => absent([2 ** 62, 4], 1), /has the shape/],
  [
    'million-names.onnx',
    () =>
      onnxOf(
        field(1, Buffer.concat([repeated(Buffer.from([0x0a, 0]), 2 * million), message({ 4: 'Concat' })])),
      ),
    /more than \d+ names/,
  ],
  ['two-makers.onnx', () => model(graph({ nodes: [plain, plain] })), /"y" twice/],
  [
    'two-tensors.onnx',
    () =>
      model(
        graph({
          nodes: [plain],
          initializers: [tensor('w', [1], 1, floats([1])), tensor('w', [1], 1, floats([2]))],
        }),
      ),
    /has the tensor "w" twice/,
  ],
  [
    'leaf.onnx',
    () => treeModel({ target_weights: { floats: [NaN, 1, 1, 1] } }),
    /leaf value that is not a finite number|of \d+ values/,
  ],
]
