/** Tests that seeded graphs give the outputs of ONNX Runtime, and the cases that `npm run test:parity` found with such graphs. */
import { describe, expect, it } from 'vitest'
import { countOutputs } from '../../../../api/serving/formats/onnx/format.ts'
import { openOnnx } from '../../../../api/serving/formats/onnx/open-onnx.ts'
import { predictorOf } from '../../../../api/serving/formats/trees/predictor.ts'
import { judgeGraph, readGraphCases, type GraphVerdict } from '../../../support/formats/graph-parity.ts'
import { bareAnswers, loweredAnswers, worstDifference } from '../../../support/formats/onnx-answers.ts'
import { ml, operatorModel, type OperatorCase } from '../../../support/formats/onnx-graphs.ts'
import { treeAttributes, treeModel } from '../../../support/formats/onnx-trees.ts'
import { graph, model, node, value, type WrittenNode } from '../../../support/formats/onnx-writer.ts'

type Attributes = NonNullable<WrittenNode['attributes']>

it('seeded graphs give the outputs of ONNX Runtime, or are refused as by ONNX Runtime', async () => {
  const found: Record<GraphVerdict['by'], number> = {
    forest: 0,
    rows: 0,
    session: 0,
    refused: 0,
    registration: 0,
  }
  for (const each of readGraphCases()) {
    const { by, wrong } = await judgeGraph(each)
    expect([each.name, by, wrong]).toEqual([each.name, by, undefined])
    found[by]++
  }
  expect(found.rows).toBeGreaterThan(100)
  expect(found.forest).toBeGreaterThan(5)
  expect(found.refused).toBeGreaterThan(3)
})

const { target_ids: _, ...plain } = treeAttributes

/** Builds a classifier from the trees of `treeAttributes`; each weight belongs to the class at the same index. */
const classifier = (
  ids: readonly number[],
  weights: readonly number[],
  { classes = 2, ...more }: { classes?: number } & Partial<Attributes> = {},
): Buffer => {
  const attributes = Object.fromEntries(Object.entries(plain).filter(([name]) => name.startsWith('nodes_')))
  return model(
    graph({
      inputs: [value('x', [0, 2])],
      outputs: [value('y', [0, classes])],
      nodes: [
        node({
          op: 'TreeEnsembleClassifier',
          domain: ml,
          inputs: ['x'],
          outputs: ['label', 'y'],
          attributes: {
            ...attributes,
            class_treeids: ids.map((_each, at) => (at < ids.length / 2 ? 0 : 1)),
            class_nodeids: ids.map((_each, at) => 1 + (at % 2)),
            class_ids: ids,
            class_weights: { floats: weights },
            classlabels_int64s: Array.from({ length: classes }, (_each, at) => at),
            ...(more as Attributes),
          },
        }),
      ],
    }),
  )
}

const rows = { count: 4, numbers: [0, -2, 0, 0, 1, -2, 1, 0] }

function forestAnswers(bytes: Buffer): number[] | undefined {
  const { forest } = openOnnx(bytes)
  if (forest === undefined) return undefined
  const { outputs, predictOne } = predictorOf(forest)
  const answers = new Float64Array(rows.count * outputs)
  for (let row = 0; row < rows.count; row++)
    predictOne(Float64Array.from(rows.numbers), row * 2, answers, row * outputs)
  return [...answers]
}

describe('trees of ONNX', () => {
  it.each(['NONE', 'SOFTMAX', 'LOGISTIC'])(
    'of one score for two classes, which is never negative, answer as ONNX Runtime behind %s',
    async (post) => {
      const bytes = classifier([0, 0, 0, 0], [0.25, 0.5, 0, 2], { post_transform: post })
      const wanted = await bareAnswers(bytes, openOnnx(bytes).layout, rows)
      expect(worstDifference(forestAnswers(bytes)!, wanted)).toBeLessThanOrEqual(1e-6)
    },
  )

  it('whose base value depends on the leaf are left to ONNX Runtime', () => {
    const regressor = (ids: readonly number[]): Buffer =>
      model(
        graph({
          inputs: [value('x', [0, 2])],
          nodes: [
            node({
              op: 'TreeEnsembleRegressor',
              domain: ml,
              inputs: ['x'],
              outputs: ['y'],
              attributes: { ...plain, n_targets: 2, target_ids: ids, base_values: { floats: [1, 5] } },
            }),
          ],
        }),
      )
    expect(forestAnswers(regressor([0, 0, 1, 1]))).toEqual([2, 15, 2, 25, 3, 15, 3, 25])
    expect(forestAnswers(regressor([0, 1, 0, 1]))).toBeUndefined()
  })

  it.each<[string, Attributes]>([
    ['whose nodes are not in the order of their numbers', { nodes_nodeids: [0, 2, 1, 0, 1, 2] }],
    ['with an attribute that is not known', { nodes_colours: [1] }],
  ])('%s are left to ONNX Runtime', (_name, changes) => {
    expect(openOnnx(treeModel()).forest).toBeDefined()
    expect(openOnnx(treeModel(changes)).forest).toBeUndefined()
  })

  it('that do not say how many outputs they have are left to ONNX Runtime, which refuses them', async () => {
    const { n_targets: __, ...attributes } = treeAttributes
    const bytes = model(
      graph({
        inputs: [value('x', [0, 2])],
        nodes: [node({ op: 'TreeEnsembleRegressor', domain: ml, inputs: ['x'], outputs: ['y'], attributes })],
      }),
    )
    await expect(countOutputs(bytes, openOnnx(bytes))).rejects.toThrow(/ONNX Runtime does not load the model/)
  })

  it('without a weight for a class of three are left to ONNX Runtime', () => {
    const of = (ids: readonly number[]) => classifier(ids, [1, 2, 3, 4], { classes: 3 })
    expect(openOnnx(of([0, 1, 2, 0])).forest).toBeUndefined()
  })

  it.each<[string, Buffer]>([
    ['one PROBIT score', classifier([0, 0, 0, 0], [1, 2, 3, 4], { post_transform: 'PROBIT' })],
    ['one base value', classifier([0, 1, 0, 1], [1, 2, 3, 4], { base_values: { floats: [1] } })],
  ])(
    'of two classes and %s, which ONNX Runtime answers with what its memory holds, are refused',
    (_name, bytes) => {
      expect(() => openOnnx(bytes)).toThrow(/is not defined/)
    },
  )
})

describe('a file of trees is refused', () => {
  const trees = (op: string, version: number, attributes: Attributes): Buffer =>
    model(
      graph({
        inputs: [value('x', [0, 2])],
        nodes: [node({ op, domain: ml, inputs: ['x'], outputs: ['y'], attributes })],
      }),
      {
        [ml]: version,
      },
    )

  it.each<[string, Buffer, RegExp]>([
    [
      'whose operator its version lacks',
      trees('TreeEnsemble', 3, {}),
      /belongs to version 5 of ai\.onnx\.ml, the ONNX file to 3/,
    ],
    [
      'whose operator its version has no more',
      trees('TreeEnsembleRegressor', 5, treeAttributes),
      /has no version 5 of ai\.onnx\.ml/,
    ],
    [
      'with a child of a greater number than all nodes',
      trees('TreeEnsembleRegressor', 3, {
        ...treeAttributes,
        nodes_nodeids: [0, 1, 9, 0, 1, 2],
        nodes_falsenodeids: [9, 0, 0, 2, 0, 0],
        target_nodeids: [1, 9, 1, 2],
      }),
      /child of the number 9, and all trees have 6 nodes/,
    ],
  ])('%s', (_name, bytes, message) => expect(() => openOnnx(bytes)).toThrow(message))
})

describe('an operator', () => {
  const answersOf = async (bytes: Buffer, numbers: readonly number[]) => {
    const asked = { count: numbers.length / 3, numbers }
    return [loweredAnswers(bytes, asked), await bareAnswers(bytes, openOnnx(bytes).layout, asked)] as const
  }
  const chain = (first: string, second: string, attributes: Attributes = {}): Buffer =>
    model(
      graph({
        inputs: [value('x', [0, 3])],
        outputs: [value('y', [0, 0])],
        nodes: [
          node({ op: first, inputs: ['x'], outputs: ['h'], attributes }),
          node({ op: second, inputs: ['h'], outputs: ['y'] }),
        ],
      }),
      { '': 11 },
    )

  it.each<[string, Buffer, number[]]>([
    [
      'LogSoftmax of a number that leaves nothing to the others',
      chain('LogSoftmax', 'Reciprocal'),
      [20, 0, 0],
    ],
    [
      'ReduceMean of a sum beyond 32 bits',
      operatorModel('ReduceMean', { attributes: { axes: [1] }, opset: 11 }),
      [3e38, 3e38, 0],
    ],
  ])('answers as ONNX Runtime: %s', async (_name, bytes, numbers) => {
    const [given, wanted] = await answersOf(bytes, numbers)
    expect(given).toEqual(wanted)
  })

  it('ReduceSum of a single −0 stays one', () => {
    const bytes = model(
      graph({
        inputs: [value('x', [0, 1])],
        nodes: [
          node({ op: 'ReduceSum', inputs: ['x'], outputs: ['h'], attributes: { axes: [1] } }),
          node({ op: 'Reciprocal', inputs: ['h'], outputs: ['y'] }),
        ],
      }),
      { '': 11 },
    )
    expect(loweredAnswers(bytes, { count: 1, numbers: [-0] })).toEqual([-Infinity])
  })

  it.each(['Log', 'Sqrt', 'Reciprocal'])(
    '%s behind Sigmoid, whose smallest answers ONNX Runtime rounds to 0, is left to it',
    (op) => {
      expect(openOnnx(chain('Sigmoid', op)).rows).toBeUndefined()
      expect(openOnnx(chain('Sigmoid', 'Neg')).rows).toBeDefined()
    },
  )

  it('Celu that divides by 0 is refused', () => {
    const bytes = operatorModel('Celu', { attributes: { alpha: { float: 0 } } })
    expect(() => openOnnx(bytes)).toThrow(/Celu divides by its alpha, which is 0/)
  })

  it('LinearClassifier of one PROBIT score for two classes is refused', () => {
    const attributes: Attributes = {
      coefficients: { floats: [1, 2, 3] },
      intercepts: { floats: [0] },
      classlabels_ints: [0, 1],
      post_transform: 'PROBIT',
    }
    const given = { domain: ml, outputs: ['label', 'y'], attributes }
    expect(() => openOnnx(operatorModel('LinearClassifier', given))).toThrow(/second is not defined/)
  })
})

describe('a graph that is answered without ONNX Runtime is refused as by it', () => {
  it.each<[string, string, OperatorCase]>([
    ['an attribute of an older version', 'ReduceSum', { attributes: { axes: [1] }, opset: 13 }],
    ['an operator that its version lacks', 'HardSwish', { opset: 13 }],
  ])('for %s: %s', async (_why, op, given) => {
    const bytes = operatorModel(op, given)
    const file = openOnnx(bytes)
    expect(file.rows).toBeDefined()
    await expect(countOutputs(bytes, file)).rejects.toThrow(/ONNX Runtime does not load the model/)
  })

  it('but not for an encoder that refuses the empty text', async () => {
    const encoder = model(
      graph({
        inputs: [value('t', [0, 1], 8)],
        outputs: [value('y', [0, 2])],
        nodes: [
          node({
            op: 'OneHotEncoder',
            domain: ml,
            inputs: ['t'],
            outputs: ['h'],
            attributes: { cats_strings: ['a', 'b'], zeros: 0 },
          }),
          node({ op: 'Flatten', inputs: ['h'], outputs: ['y'] }),
        ],
      }),
    )
    expect(await countOutputs(encoder, openOnnx(encoder))).toBe(2)
    await expect(countOutputs(encoder, openOnnx(encoder), 1)).rejects.toMatchObject({
      code: 'artifact_invalid',
      message: expect.stringMatching(
        /^ONNX Runtime takes more than 1 ms to load the graph and to answer a few rows\. Try again/,
      ),
    })
  })
})
