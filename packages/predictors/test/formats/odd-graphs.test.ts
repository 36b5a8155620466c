/** Tests graphs that random ones have shown to be read otherwise than by ONNX Runtime. */
import { describe, expect, it } from 'vitest'
import { countOutputs } from '../../src/formats/onnx/format.ts'
import { openOnnx } from '../../src/formats/onnx/open-onnx.ts'
import { predictorOf } from '../../src/formats/trees/predictor.ts'
import { bareAnswers, worstDifference } from '../support/onnx-answers.ts'
import { ml, operatorModel } from '../support/onnx-graphs.ts'
import { treeAttributes, treeModel } from '../support/onnx-trees.ts'
import { graph, model, node, value, type WrittenNode } from '../support/onnx-writer.ts'

type Attributes = NonNullable<WrittenNode['attributes']>

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

it('a LinearClassifier of one PROBIT score for two classes is refused', () => {
  const attributes: Attributes = {
    coefficients: { floats: [1, 2, 3] },
    intercepts: { floats: [0] },
    classlabels_ints: [0, 1],
    post_transform: 'PROBIT',
  }
  const given = { domain: ml, outputs: ['label', 'y'], attributes }
  expect(() => openOnnx(operatorModel('LinearClassifier', given))).toThrow(/second is not defined/)
})

it('dense layers are loaded by ONNX Runtime too, which refuses an attribute of another version', async () => {
  const [w, b] = [
    { dims: [3, 2], floats: [1, 2, 3, 4, 5, 6] },
    { dims: [2], floats: [1, 2] },
  ]
  const bytes = operatorModel('Gemm', { tensors: { w, b }, attributes: { colour: 1 } })
  const file = openOnnx(bytes)
  expect(file.network).toBeDefined()
  await expect(countOutputs(bytes, file)).rejects.toThrow(/ONNX Runtime does not load the model/)
})

it('an encoder that refuses the empty text is tried with the texts that it knows', async () => {
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
  await expect(countOutputs(encoder, openOnnx(encoder), { loadMs: 1 })).rejects.toMatchObject({
    code: 'artifact_invalid',
    message: expect.stringMatching(
      /^ONNX Runtime takes more than 1 ms to load the graph and to answer a few rows\. Try again/,
    ),
  })
})
