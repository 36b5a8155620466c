/** Tests that ONNX graphs of trees give the outputs of ONNX Runtime, and that every other file is understood or refused by name. */
import { describe, expect, it } from 'vitest'
import { onnxFormat } from '../../src/formats/onnx/format.ts'
import { openOnnx } from '../../src/formats/onnx/open-onnx.ts'
import { predictorOf } from '../../src/formats/trees/predictor.ts'
import type { OpenedArtifact } from '../../src/formats/format.ts'
import type { ModelDescription, Output } from '../../src/features.ts'
import { attribute, graph, message, model, node, tensor, value, floats } from '../support/onnx-writer.ts'
import { treeAttributes, treeModel } from '../support/onnx-trees.ts'
import { compareAnswers, readOnnxCases } from '../support/parity.ts'

const cases = readOnnxCases()
const trees = cases.filter(({ name }) => !name.startsWith('session-'))

const answerOf = (bytes: Buffer, row: readonly number[]): number[] => {
  const predictor = predictorOf(openOnnx(bytes).forest!)
  const output = new Float64Array(predictor.outputs)
  predictor.predictOne(Float64Array.from(row), 0, output, 0)
  return [...output]
}

describe('a graph of trees', () => {
  it.each(trees)('$name answers as ONNX Runtime, to 1e-6', ({ bytes, rows, answers }) => {
    const { worst, otherLeaves } = compareAnswers({ bytes, rows, answers })
    expect(rows.length).toBeGreaterThan(25)
    expect(worst).toBeLessThanOrEqual(1e-6)
    expect(otherLeaves).toBe(0)
  })

  it('accepts the rows of the test, and treats a missing value as false', () => {
    const bytes = treeModel()
    expect(
      [
        [0.5, -1],
        [0.6, -1],
        [0, 0],
        [NaN, NaN],
      ].map((row) => answerOf(bytes, row)),
    ).toEqual([[11], [12], [21], [22]])
    const tracked = treeModel({ nodes_missing_value_tracks_true: [1, 0, 0, 0, 0, 0] })
    expect(answerOf(tracked, [NaN, NaN])).toEqual([21])
  })

  it.each([
    ['BRANCH_LEQ', Infinity, 0, [11, 11, 11, 12]],
    ['BRANCH_LEQ', Infinity, 1, [11, 11, 11, 11]],
    ['BRANCH_LEQ', -Infinity, 0, [11, 12, 12, 12]],
    ['BRANCH_LEQ', -Infinity, 1, [11, 12, 12, 11]],
    ['BRANCH_LT', -Infinity, 0, [12, 12, 12, 12]],
    ['BRANCH_LT', -Infinity, 1, [12, 12, 12, 11]],
    ['BRANCH_LT', Infinity, 0, [11, 11, 12, 12]],
    ['BRANCH_LT', Infinity, 1, [11, 11, 12, 11]],
    ['BRANCH_GT', Infinity, 0, [12, 12, 12, 12]],
    ['BRANCH_GT', Infinity, 1, [12, 12, 12, 11]],
    ['BRANCH_GT', -Infinity, 0, [12, 11, 11, 12]],
    ['BRANCH_GTE', -Infinity, 0, [11, 11, 11, 12]],
    ['BRANCH_GTE', -Infinity, 1, [11, 11, 11, 11]],
    ['BRANCH_GTE', Infinity, 1, [12, 12, 11, 11]],
  ] as const)(
    'compares by %s with %d (missing values on its true side: %d)',
    (mode, bound, tracked, wanted) => {
      const bytes = treeModel({
        nodes_modes: [mode, 'LEAF', 'LEAF', 'BRANCH_LEQ', 'LEAF', 'LEAF'],
        nodes_values: { floats: [bound, 0, 0, -1, 0, 0] },
        nodes_missing_value_tracks_true: [tracked, 0, 0, 0, 0, 0],
      })
      expect([-Infinity, 0, Infinity, NaN].map((each) => answerOf(bytes, [each, -1])[0])).toEqual(wanted)
    },
  )

  it('is read through casts, identities and concatenated columns, in the order of the trees', () => {
    const inner = (input: string, output: string) =>
      node({
        op: 'TreeEnsembleRegressor',
        domain: 'ai.onnx.ml',
        inputs: [input],
        outputs: [output],
        attributes: treeAttributes,
      })
    const bytes = model(
      graph({
        inputs: [value('age', [0, 1]), value('income', [0, 1], 11)],
        nodes: [
          node({ op: 'Cast', inputs: ['income'], outputs: ['single'], attributes: { to: 1 } }),
          node({ op: 'Concat', inputs: ['single', 'age'], outputs: ['both'], attributes: { axis: 1 } }),
          inner('both', 'score'),
          node({ op: 'Identity', inputs: ['score'], outputs: ['y'] }),
        ],
      }),
    )
    const { layout, forest } = openOnnx(bytes)
    expect(layout).toMatchObject({ isNamed: true, columns: [{ name: 'age' }, { name: 'income' }] })
    expect(forest!.columns.map(({ name }) => name)).toEqual(['age', 'income'])
    // The first tree compares the income, the second the age.
    expect(answerOf(bytes, [-1, 9])).toEqual([12])
    expect(answerOf(bytes, [9, -1])).toEqual([21])
  })

  it.each([
    [
      'a comparison of equality',
      { nodes_modes: ['BRANCH_EQ', 'LEAF', 'LEAF', 'BRANCH_LEQ', 'LEAF', 'LEAF'] },
    ],
    ['a minimum over trees', { aggregate_function: 'MIN' }],
    ['a link of its own', { post_transform: 'PROBIT' }],
    ['two weights of a leaf for one output', { target_nodeids: [1, 1, 1, 2] }],
  ])('is left to ONNX Runtime with %s', (_, changes) => {
    expect(openOnnx(treeModel(changes)).forest).toBeUndefined()
  })

  it('is left to ONNX Runtime beside an input of texts', () => {
    const whole = treeModel()
    const texts = value('city', [0, 1], 8)
    const bytes = model(
      graph({
        inputs: [value('age', [0, 1]), texts, value('income', [0, 1])],
        nodes: [
          node({ op: 'Concat', inputs: ['age', 'income'], outputs: ['x'], attributes: { axis: 1 } }),
          node({
            op: 'TreeEnsembleRegressor',
            domain: 'ai.onnx.ml',
            inputs: ['x'],
            outputs: ['y'],
            attributes: treeAttributes,
          }),
        ],
      }),
    )
    expect(openOnnx(whole).forest).toBeDefined()
    expect(openOnnx(bytes).forest).toBeUndefined()
  })

  it('gives the probability of the second class where that is the output', () => {
    const { bytes, rows, answers } = trees.find(({ name }) => name === 'sklearn-forest-0')!
    const features = Object.fromEntries(
      rows[0]!.map((_, at) => [`f${at}`, { kind: 'number', missing: 'fill' }]),
    )
    const preprocessing = Object.keys(features).map((name) => ({
      name,
      kind: 'number',
      mean: 0,
      std: 1,
      fill: null,
    }))
    const manifest = {
      features,
      preprocessing,
      output: { kind: 'probability' },
    } as unknown as ModelDescription
    const opening = onnxFormat.open(manifest, { 'model.onnx': bytes }) as Generator<void, OpenedArtifact>
    opening.next()
    const { predictor } = opening.next().value as OpenedArtifact
    const output = new Float32Array(2)
    const row = rows.find((each) => each.every((cell) => typeof cell === 'number')) as number[]
    void predictor.run(Float64Array.from([...row, ...row]), 2, output)
    const wanted = (answers[rows.indexOf(row)] as number[])[1]!
    expect([...output]).toEqual([Math.fround(wanted), Math.fround(wanted)])
  })

  it('of classes in another order than those of the model is refused', () => {
    const { bytes } = trees.find(({ name }) => name === 'sklearn-forest-classes-0')!
    const opened = (classes: string[]) =>
      onnxFormat.open({ output: { kind: 'classes', classes } } as unknown as ModelDescription, {
        'model.onnx': bytes,
      })
    expect(() => opened(['low', 'mid', 'high'])).toThrow('the classes high, low, mid in this order')
    expect(() => opened(['high', 'low', 'mid'])).not.toThrow()
  })

  const linear = (classes: string[]): Buffer =>
    model(
      graph({
        nodes: [
          node({
            op: 'LinearClassifier',
            domain: 'ai.onnx.ml',
            inputs: ['x'],
            outputs: ['label', 'scores'],
            attributes: {
              classlabels_strings: classes,
              coefficients: { floats: classes.map((_, at) => at) },
              intercepts: { floats: classes.map(() => 0) },
              post_transform: 'SOFTMAX',
            },
          }),
          node({
            op: 'Normalizer',
            domain: 'ai.onnx.ml',
            inputs: ['scores'],
            outputs: ['y'],
            attributes: { norm: 'L1' },
          }),
        ],
        outputs: [value('y', [0, classes.length])],
      }),
    )
  const inspected = async (classes: string[], output: Output) =>
    onnxFormat.inspect({ 'model.onnx': linear(classes) }, output)

  it('of a linear classifier in another order is refused when the file is read', async () => {
    const output: Output = { kind: 'classes', classes: ['rented', 'for sale', 'sold'] }
    await expect(inspected(['for sale', 'rented', 'sold'], output)).rejects.toThrow(
      'the file has the classes for sale, rented, sold in this order, the model rented, for sale, sold',
    )
    expect((await inspected(['rented', 'for sale', 'sold'], output)).outputs).toBe(3)
    expect((await inspected(['0', '1', '2'], output)).outputs).toBe(3)
  })

  it('whose first of two is the positive one is refused, unless they are 0 and 1', async () => {
    const output = (positive: string): Output => ({ kind: 'probability', positive })
    await expect(inspected(['blooms', 'withered'], output('blooms'))).rejects.toThrow(
      'the classes blooms, withered in this order, the model withered, blooms',
    )
    expect((await inspected(['blooms', 'withered'], output('withered'))).outputs).toBe(1)
    expect((await inspected(['0', '1'], output('0'))).outputs).toBe(1)
  })
})

const plain = node({ op: 'Identity', inputs: ['x'], outputs: ['y'] })
const withNode = (each: Buffer): Buffer => model(graph({ nodes: [each] }))
const withTensor = (each: Buffer): Buffer => model(graph({ nodes: [plain], initializers: [each] }))
const nested = (depth: number): Buffer =>
  depth === 0
    ? graph({ nodes: [plain] })
    : graph({
        nodes: [
          message({ 1: 'x', 2: 'y', 4: 'If', 5: message({ 1: 'then_branch', 6: nested(depth - 1), 20: 5 }) }),
        ],
      })

describe('a file that is refused', () => {
  const refused: [string, Buffer, RegExp][] = [
    ['without a graph', message({ 1: 10, 2: 'test' }), /has no graph/],
    [
      'with two graphs',
      message({ 1: 10, 7: [graph({ nodes: [plain] }), graph({ nodes: [plain] })] }),
      /a second graph/,
    ],
    ['cut off', treeModel().subarray(0, 100), /truncated or damaged/],
    ['with a group', Buffer.concat([message({ 1: 10 }), Buffer.from([0x3b])]), /truncated or damaged/],
    [
      'with a number of eleven bytes',
      Buffer.from([8, ...Array<number>(10).fill(255), 1]),
      /truncated or damaged/,
    ],
    [
      'of a domain of its own',
      withNode(node({ op: 'Magic', domain: 'com.acme', inputs: ['x'], outputs: ['y'] })),
      /the operator Magic belongs to com.acme/,
    ],
    [
      'of the domain of a producer',
      withNode(node({ op: 'Gelu', domain: 'com.producer', inputs: ['x'], outputs: ['y'] })),
      /Gelu belongs to com.producer; those of ai.onnx, ai.onnx.ml, com.microsoft are read/,
    ],
    [
      'that generates texts',
      withNode(node({ op: 'GreedySearch', domain: 'com.microsoft', inputs: ['x'], outputs: ['y'] })),
      /GreedySearch is refused: it generates texts/,
    ],
    [
      'with random numbers',
      withNode(node({ op: 'RandomNormalLike', inputs: ['x'], outputs: ['y'] })),
      /RandomNormalLike is refused: its answers are random/,
    ],
    [
      'with a loop',
      withNode(node({ op: 'Loop', inputs: ['x'], outputs: ['y'] })),
      /Loop is refused: it may never end/,
    ],
    [
      'with a ZipMap',
      withNode(node({ op: 'ZipMap', domain: 'ai.onnx.ml', inputs: ['x'], outputs: ['y'] })),
      /zipmap=False; save a CatBoost with format='json'/,
    ],
    [
      'of two versions of operators',
      model(graph({ nodes: [plain] }), { '': 18, 'ai.onnx': 9 }),
      /operators of two versions of ai.onnx: convert it again/,
    ],
    [
      'of a newer version of operators',
      model(graph({ nodes: [plain] }), { '': 99 }),
      /operators of version 99 of ai.onnx; 7 to/,
    ],
    ['of an older one', model(graph({ nodes: [plain] }), { '': 3 }), /version 3 of ai.onnx/],
    [
      'with functions',
      Buffer.concat([withNode(plain), message({ 25: message({ 1: 'f' }) })]),
      /functions of its own: inline them/,
    ],
    [
      'with a training loop',
      Buffer.concat([withNode(plain), message({ 20: message({ 1: '' }) })]),
      /training loop/,
    ],
    [
      'with a sparse tensor',
      model(message({ 1: plain, 11: value('x', [0, 1]), 12: value('y', [0, 1]), 15: message({ 1: '' }) })),
      /sparse tensors/,
    ],
    [
      'with external data',
      withTensor(
        message({ 1: 4, 2: 1, 8: 'w', 13: message({ 1: 'location', 2: '../../etc/passwd' }), 14: 1 }),
      ),
      /the tensor "w" lies in another file, which is not read/,
    ],
    [
      'with external data without a place',
      withTensor(message({ 1: 4, 2: 1, 8: 'w', 14: 1 })),
      /lies in another file/,
    ],
    [
      'with external data in an attribute',
      withNode(
        message({
          2: 'y',
          4: 'Constant',
          5: message({ 1: 'value', 5: message({ 8: 'c', 13: message({ 1: 'location', 2: 'x' }) }), 20: 4 }),
        }),
      ),
      /"c" lies in another file/,
    ],
    [
      'with external data in a graph of a graph',
      withNode(
        message({
          4: 'If',
          5: message({
            1: 'then_branch',
            6: graph({ nodes: [plain], initializers: [message({ 8: 'deep', 14: 1 })] }),
            20: 5,
          }),
        }),
      ),
      /"deep" lies in another file/,
    ],
    [
      'with a tensor without its values',
      withTensor(tensor('w', [1_000_000], 1, floats([1]))),
      /"w" holds 4 bytes for the shape \[1000000\]/,
    ],
    [
      'with a tensor of a petabyte',
      withTensor(tensor('w', [2 ** 25, 2 ** 25], 1, floats([1]))),
      /"w" has the shape/,
    ],
    [
      'with a tensor of a negative size',
      withTensor(tensor('w', [-1], 1, floats([]))),
      /"w" has the shape \[-1\]/,
    ],
    [
      'with a tensor of an unknown type',
      withTensor(tensor('w', [1], 77, floats([1]))),
      /"w" is of the type 77/,
    ],
    ['with graphs in graphs', model(nested(10)), /nests graphs more than 8 deep/],
    [
      'with a second attribute of a name',
      withNode(message({ 2: 'y', 4: 'Cast', 5: [attribute('to', 1), attribute('to', 11)] })),
      /a second attribute to/,
    ],
    ['without inputs', model(message({ 1: plain, 12: value('y', [0, 1]) })), /has no inputs/],
    [
      'of trees with a cycle',
      treeModel({ nodes_truenodeids: [0, 0, 0, 1, 0, 0] }),
      /tree 0 has a cycle: node 0 is reached twice/,
    ],
    [
      'of trees with a threshold that is not a number',
      treeModel({ nodes_values: { floats: [NaN, 0, 0, 0, 0, 0] } }),
      /threshold that is not a number/,
    ],
    [
      'of trees with an infinite leaf',
      treeModel({ target_weights: { floats: [Infinity, 2, 10, 20] } }),
      /leaf value that is not a finite/,
    ],
    [
      'of trees with a child that is not there',
      treeModel({ nodes_falsenodeids: [9, 0, 0, 2, 0, 0] }),
      /tree 0 has no node 9/,
    ],
    [
      'of trees with a column that is not there',
      treeModel({ nodes_featureids: [7, 0, 0, 1, 0, 0] }),
      /reads column 7 of 2/,
    ],
    [
      'of trees with a list too short',
      treeModel({ nodes_featureids: [0, 0] }),
      /2 of 6 values of nodes_featureids/,
    ],
    [
      'of trees with a list too long',
      treeModel({ nodes_missing_value_tracks_true: [0] }),
      /1 of 6 values of nodes_missing/,
    ],
    [
      'of trees with a node twice',
      treeModel({ nodes_nodeids: [0, 1, 1, 0, 1, 2] }),
      /tree 0 has two nodes 1/,
    ],
    [
      'of a tree in two parts',
      treeModel({ nodes_treeids: [0, 1, 0, 1, 1, 1] }),
      /the nodes of tree 0 are not together/,
    ],
    [
      'of trees with a weight of no leaf',
      treeModel({ target_nodeids: [0, 2, 1, 2] }),
      /node 0 of tree 0 has a weight and is no leaf/,
    ],
    [
      'of trees with a weight of no tree',
      treeModel({ target_treeids: [0, 0, 1, 9] }),
      /a leaf belongs to tree 9/,
    ],
    [
      'of trees with an output that is not there',
      treeModel({ target_ids: [0, 0, 0, 5] }),
      /weighs output 5 of 1/,
    ],
    ['of trees of 2^31 outputs', treeModel({ n_targets: 2 ** 31 }), /2147483648 outputs, more than/],
    [
      'of trees with a node beyond 32 bits',
      treeModel({ nodes_truenodeids: [2 ** 32 + 1, 0, 0, 1, 0, 0] }),
      /4294967297 beyond 32 bits/,
    ],
    ['without trees', treeModel({ nodes_treeids: [] }), /has no trees/],
  ]
  it.each(refused)('%s', (_, bytes, message) => expect(() => openOnnx(bytes)).toThrow(message))

  it('of random bytes is refused, whatever they are', () => {
    const whole = treeModel()
    let seed = 7
    const random = (below: number) => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) % below
    let refusals = 0
    for (let round = 0; round < 3_000; round++) {
      const bytes = Buffer.from(whole)
      for (let change = 0; change <= random(4); change++) bytes[random(bytes.byteLength)] = random(256)
      try {
        openOnnx(bytes.subarray(0, bytes.byteLength - (random(3) === 0 ? random(200) : 0)))
      } catch (error) {
        expect(error).toMatchObject({ code: 'artifact_invalid' })
        refusals++
      }
    }
    expect(refusals).toBeGreaterThan(1_000)
  })
})
