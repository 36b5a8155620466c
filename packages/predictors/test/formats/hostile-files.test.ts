/**
 * Tests that no file of any format harms the process that opens it. One process opens all of them, and each is refused by name, in little
 * time and memory.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readCases } from '../support/parity.ts'
import {
  changedModel as changed,
  hostileModels,
  type HostileFile,
} from '../support/hostile/hostile-models.ts'
import { damagedTrees } from '../support/hostile/damaged-trees.ts'
import { treeModel } from '../support/onnx-trees.ts'
import { floats, graph, message, model, node, tensor, value, varint } from '../support/onnx-writer.ts'

const cases = readCases()
const textOf = (name: string): string =>
  cases.find((each) => each.name === `${name}-0`)!.bytes.toString('utf8')
const half = (bytes: Buffer): Buffer => bytes.subarray(0, bytes.byteLength >>> 1)

const plain = node({ op: 'Identity', inputs: ['x'], outputs: ['y'] })
const external = message({ 1: 4, 2: 1, 8: 'w', 13: message({ 1: 'location', 2: '../../etc/passwd' }), 14: 1 })
/** Encodes a field of a message without copying its content. */
const field = (number: number, content: Buffer): Buffer =>
  Buffer.concat([varint(number * 8 + 2), varint(content.byteLength), content])
const million = 1_000_000
const repeated = (part: Buffer, count: number): Buffer => Buffer.alloc(part.byteLength * count, part)
const fileOf = (content: Buffer): Buffer => Buffer.concat([message({ 1: 10 }), field(7, content)])
const nodes = (count: number): Buffer => repeated(field(1, plain), count)

/** Builds as many lists as trees have, each of this many numbers of two bytes. */
const hugeTrees = (count: number): Buffer => {
  const lists = ['treeids', 'nodeids', 'featureids', 'truenodeids', 'falsenodeids'].map((name) =>
    field(5, Buffer.concat([message({ 1: `nodes_${name}` }), repeated(Buffer.from([0x40, 0]), count)])),
  )
  const modes = field(
    5,
    Buffer.concat([message({ 1: 'nodes_modes' }), repeated(field(9, Buffer.from('LEAF')), count)]),
  )
  const values = field(5, Buffer.concat([message({ 1: 'nodes_values' }), field(7, Buffer.alloc(count * 4))]))
  const operator = message({ 1: 'x', 2: 'y', 4: 'TreeEnsembleRegressor', 7: 'ai.onnx.ml' })
  const targets = field(5, message({ 1: 'n_targets', 3: 1, 20: 2 }))
  const whole = field(1, Buffer.concat([operator, targets, ...lists, modes, values]))
  const file = fileOf(Buffer.concat([whole, graph({ nodes: [] })]))
  return Buffer.concat([file, message({ 8: message({ 1: 'ai.onnx.ml', 2: 3 }) })])
}

/** One operator with a list attribute, or a tensor, of this many bytes. */
const operatorOf = (op: string, attributes: readonly Buffer[], domain = ''): Buffer =>
  fileOf(
    Buffer.concat([
      field(
        1,
        Buffer.concat([
          message({ 1: ['x', ...(attributes.length === 0 ? ['list'] : [])], 2: 'y', 4: op, 7: domain }),
          ...attributes.map((each) => field(5, each)),
        ]),
      ),
      ...(attributes.length === 0
        ? [field(5, Buffer.concat([message({ 1: 30 * million, 2: 7, 8: 'list' }), packed(7)]))]
        : []),
      graph({ nodes: [], inputs: [value('x', [0, 1], domain === '' ? 1 : 8)] }),
    ]),
  )
const packed = (number: number): Buffer => field(number, Buffer.alloc(30 * million))
const named = (name: string, list: Buffer): Buffer => Buffer.concat([message({ 1: name }), list])
const categories = (name: string): Buffer => {
  const texts = Array.from({ length: million }, (_, at) => field(9, Buffer.from(at.toString(36))))
  return named(name, Buffer.concat(texts))
}

const pickle = (protocol: number): Buffer =>
  Buffer.concat([Buffer.from([0x80, protocol]), Buffer.from('csklearn\nRandomForest\n')])
const deep = (open: string, close: string): Buffer =>
  Buffer.from(`${open.repeat(100_000)}1${close.repeat(100_000)}`)

const files: readonly HostileFile[] = [
  ['pickle-2.pkl', () => pickle(2), /is a pickle, which runs code/],
  ['pickle-5.joblib', () => pickle(5), /is a pickle, which runs code/],
  ['pickle-0.pkl', () => Buffer.from('cos\nsystem\n(S"true"\ntR.'), /is a pickle, which runs code/],
  ['pickle-0-list.pkl', () => Buffer.from('(lp0\ncsklearn.tree\nTree\np1\na.'), /is a pickle/],
  ['pickle-0-dict.pkl', () => Buffer.from('(dp0\nVm\np1\nI1\ns.'), /is a pickle/],
  ['pickle-0-tuple.pkl', () => Buffer.from('(csklearn.tree\nTree\np0\nI1\ntp1\n.'), /is a pickle/],
  ['pickle-1.pkl', () => Buffer.from('csklearn.tree\nTree\nq\0.'), /is a pickle/],
  ['pickle-1-list.pkl', () => Buffer.from(']q\0K\x01a.'), /is a pickle/],
  ['pickle-1-dict.pkl', () => Buffer.from('}q\0X\x01\0\0\0mq\x01K\x01s.'), /is a pickle/],
  ['text.txt', () => Buffer.from('cats\ndogs\npigs and others.'), /not a model of LightGBM/],
  ['list.txt', () => Buffer.from('(lp0 is the first point)\n.'), /not a model of LightGBM/],
  ['zlib.joblib', () => Buffer.from([0x78, 0x9c, 1, 2, 3]), /compressed: unpack it/],
  ['gzip.joblib', () => Buffer.from([0x1f, 0x8b, 8, 0]), /compressed: unpack it/],
  ['xz.joblib', () => Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]), /compressed: unpack it/],
  ['model.pt', () => Buffer.from('PK\x03\x04archive/data.pkl'), /export the model as ONNX/],
  ['model.h5', () => Buffer.from('\x89HDF\r\n', 'latin1'), /HDF5/],
  ['old.bst', () => Buffer.from('binf\x00\x00\x00\x3f', 'latin1'), /XGBoost's old binary format/],
  ['unknown.bst', () => Buffer.from([0, 0, 0, 0x3f, 30, 0, 0, 0]), /not a model of LightGBM/],
  ['model.cbm', () => Buffer.from('CBM1\x10\x00'), /CatBoost's binary format/],
  ['lightgbm-cycle.txt', () => changed('lightgbm-binary', /left_child=\S+/, 'left_child=0'), /has a cycle/],
  [
    'lightgbm-nan.txt',
    () => changed('lightgbm-binary', /threshold=\S+/, 'threshold=nan'),
    /threshold that is not a number/,
  ],
  [
    'lightgbm-hexadecimal.txt',
    () => changed('lightgbm-binary', /threshold=\S+/, 'threshold=0x10'),
    /threshold that is not a number/,
  ],
  [
    'lightgbm-leaves.txt',
    () => changed('lightgbm-binary', /num_leaves=\d+/, 'num_leaves=2147483648'),
    /num_leaves/,
  ],
  ['lightgbm-cut.txt', () => half(Buffer.from(textOf('lightgbm-binary'))), /truncated/],
  [
    'xgboost-cycle.json',
    () => changed('xgboost-binary', /"left_children":\[1,/, '"left_children":[0,'),
    /has a cycle/,
  ],
  [
    'xgboost-columns.json',
    () => changed('xgboost-binary', /"num_feature":"8"/g, '"num_feature":"4000000000"'),
    /columns, more than/,
  ],
  ['xgboost-cut.json', () => half(Buffer.from(textOf('xgboost-binary'))), /not complete JSON/],
  ['blank.json', () => Buffer.concat([Buffer.from('{'), Buffer.alloc(60 * million)]), /not complete JSON/],
  ['xgboost-deep.json', () => deep('{"learner":', '}'), /gradient_booster|not complete JSON/],
  ['xgboost-cut.ubj', () => half(cases.find(({ name }) => name === 'xgboost-binary-ubj-0')!.bytes), /UBJSON/],
  [
    'catboost-nan.json',
    () => changed('catboost-binary', /"border":\s*[-\d.e]+/, '"border":"nan"'),
    /threshold that is not a number/,
  ],
  [
    'catboost-info.json',
    () => changed('catboost-binary', /"features_info":\s*\{/, '"features_info":null,"other":{'),
    /features_info is not an object/,
  ],
  [
    'catboost-feature.json',
    () => changed('catboost-binary', /"float_features":\s*\[/, '"float_features":[null,'),
    /float_features has an entry that is not an object/,
  ],
  [
    'catboost-tree.json',
    () => changed('catboost-binary', /"oblivious_trees":\s*\[/, '"oblivious_trees":[null,'),
    /list of trees has an entry that is not an object/,
  ],
  [
    'catboost-split.json',
    () => changed('catboost-binary', /"splits":\s*\[/, '"splits":[null,'),
    /list of splits of tree 0 has an entry that is not an object/,
  ],
  [
    'catboost-branch.json',
    () => changed('catboost-leaf-wise', /"split":\s*\{/, '"split":null,"other":{'),
    /a split of tree 0 is not an object/,
  ],
  [
    'external.onnx',
    () => model(graph({ nodes: [plain], initializers: [external] })),
    /lies in another file, which is not read/,
  ],
  [
    'custom.onnx',
    () => model(graph({ nodes: [node({ op: 'Run', domain: 'acme', inputs: ['x'], outputs: ['y'] })] })),
    /the operator Run belongs to acme/,
  ],
  ['million-nodes.onnx', () => fileOf(nodes(million)), /more than 10000 nodes/],
  [
    'million-empty.onnx',
    () => fileOf(repeated(Buffer.from([0x0a, 0]), 30 * million)),
    /belongs to|more than 10000 nodes/,
  ],
  [
    'million-tensors.onnx',
    () => fileOf(repeated(field(5, tensor('', [0], 1, floats([]))), million)),
    /more than 10000 tensors/,
  ],
  [
    'million-inputs.onnx',
    () => fileOf(repeated(Buffer.from([0x5a, 0]), 30 * million)),
    /more than 10000 inputs/,
  ],
  [
    'million-opsets.onnx',
    () => Buffer.concat([treeModel(), repeated(field(8, message({ 1: 'ab', 2: 1 })), 7 * million)]),
    /more than 300000 entries/,
  ],
  [
    'million-shapes.onnx',
    () => fileOf(repeated(field(13, Buffer.alloc(0)), 30 * million)),
    /more than 300000 entries/,
  ],
  ['cycle.onnx', () => treeModel({ nodes_truenodeids: [0, 0, 0, 1, 0, 0] }), /has a cycle/],
  [
    'nan.onnx',
    () => treeModel({ nodes_values: { floats: [NaN, 0, 0, 0, 0, 0] } }),
    /threshold that is not a number/,
  ],
  ['outputs.onnx', () => treeModel({ n_targets: 2 ** 31 }), /2147483648 outputs/],
  ['million-trees.onnx', () => hugeTrees(2 * million), /tree 0 has two nodes 0/],
  ['cut.onnx', () => half(treeModel()), /truncated or damaged/],
  [
    'garbage.onnx',
    () => Buffer.concat([Buffer.from([8, 10]), repeated(Buffer.from('garbage'), million)]),
    /truncated or damaged/,
  ],
  [
    'more.onnx',
    () => model(graph({ nodes: [node({ op: 'Relu', inputs: ['x'], outputs: ['y'] })] })),
    /holds more than trees/,
  ],
  ...['Squeeze', 'Reshape', 'ReduceSum', 'Split', 'Gather'].map((op): HostileFile => [
    `long-${op}.onnx`,
    () => operatorOf(op, []),
    /holds more than trees/,
  ]),
  ['axes.onnx', () => operatorOf('Squeeze', [named('axes', packed(8))]), /holds more than trees/],
  [
    'categories.onnx',
    () => operatorOf('OneHotEncoder', [categories('cats_strings')], 'ai.onnx.ml'),
    /holds more than trees/,
  ],
  [
    'labels.onnx',
    () =>
      operatorOf(
        'LabelEncoder',
        [categories('keys_strings'), named('values_floats', field(7, Buffer.alloc(4 * million)))],
        'ai.onnx.ml',
      ),
    /holds more than trees/,
  ],
  ...hostileModels,
  ...damagedTrees,
]

describe('a hostile file', () => {
  let folder: string
  let told: Map<string, { error?: string; ms: number }>
  let megabytes: number
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'tenure-hostile-'))
    // The other file is where the graph says, so that only a reader that follows the reference could find it.
    mkdirSync(join(folder, 'etc'))
    const paths = files.map(([name, make]) => {
      const path = join(folder, name)
      writeFileSync(path, make())
      return path
    })
    // Compiled, as the process that opens files is: Node needs memory of its own to remove types.
    const child = join(folder, 'open-child.mjs')
    buildSync({
      entryPoints: [fileURLToPath(new URL('../support/open-child.ts', import.meta.url))],
      outfile: child,
      bundle: true,
      format: 'esm',
      platform: 'node',
      define: { 'import.meta.url': JSON.stringify(new URL('compiled.ts', import.meta.url).href) },
    })
    const printed = execFileSync(
      process.execPath,
      ['--expose-gc', '--max-semi-space-size=2', '--max-old-space-size=96', child, ...paths],
      { encoding: 'utf8' },
    )
    const lines = printed
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { name: string; ms: number })
    megabytes = (lines.pop() as unknown as { megabytes: number }).megabytes
    told = new Map(lines.map((line) => [line.name, line]))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  it.each(files)('%s is refused by name within 5 seconds', (name, _, wanted) => {
    expect(told.get(name)!.error).toMatch(wanted)
    expect(told.get(name)!.ms).toBeLessThan(5_000)
  })

  // About 170 MB; the buffers of a file before may be freed later on a busy machine.
  it('uses less than 256 MB, whichever file it is', () => {
    expect(megabytes).toBeLessThan(256)
  })
})
