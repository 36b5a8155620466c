/** Tests graphs whose values have several dimensions, such as attention: each answers as ONNX Runtime, or is left to it. */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { openOnnx } from '../../../../../../api/serving/formats/onnx/open-onnx.ts'
import { maxRowWork } from '../../../../../../api/serving/formats/onnx/rows/row-value.ts'
import { bareAnswers, loweredAnswers, worstDifference } from '../../../../../support/formats/onnx-answers.ts'
import {
  initializersOf,
  ramp,
  rowsOf,
  type Initializers,
} from '../../../../../support/formats/onnx-graphs.ts'
import { graph, model, node, value, type WrittenNode } from '../../../../../support/formats/onnx-writer.ts'

/** A graph of PyTorch, as `scripts/formats/tabular_transformers.py` exported it. */
interface Exported {
  name: string
  model: string
  rows: number[][]
  answers: number[][]
}

const exports = JSON.parse(
  gunzipSync(
    readFileSync(
      new URL('../../../../../support/formats/graphs/tabular-transformers.json.gz', import.meta.url),
    ),
  ).toString(),
) as Exported[]

describe('a transformer for tables', () => {
  it.each(exports.map((each) => [each.name, each] as const))(
    'as PyTorch exports it answers as ONNX Runtime: %s',
    (_, { model: file, rows, answers }) => {
      const given = loweredAnswers(Buffer.from(file, 'base64'), { count: rows.length, numbers: rows.flat() })
      expect(given).toBeDefined()
      expect(worstDifference(given!, answers.flat())).toBeLessThanOrEqual(1e-6)
    },
  )

  it('gives a row the same bits alone and in a batch', () => {
    for (const { model: file, rows } of exports.slice(0, 6)) {
      const bytes = Buffer.from(file, 'base64')
      const together = loweredAnswers(bytes, { count: rows.length, numbers: rows.flat() })
      const alone = rows.flatMap((row) => loweredAnswers(bytes, { count: 1, numbers: row })!)
      expect(alone).toEqual(together)
    }
  })
})

const [int64, float] = [7, 1]
const columns = 12
const list = (...wholes: number[]) => ({ dims: [wholes.length], wholes })

/** The constants of all graphs. Tokens are 4 by 3 numbers of a row. */
const constants: Initializers = {
  four: list(-1, 4, 3),
  flat: list(0, -1),
  swapped: list(4, -1, 3),
  merged: list(-1, 3),
  heads: list(-1, 2, 2, 3),
  ends: list(2 ** 40),
  axis0: list(0),
  axis1: list(1),
  axis2: list(2),
  last: list(-1),
  picked: list(2, 0, -1, 2),
  first: { dims: [], wholes: [0] },
  weights: { dims: [3, 5], floats: ramp(15) },
  bias: { dims: [5], floats: ramp(5) },
  square: { dims: [3, 3], floats: ramp(9) },
  scale: { dims: [3], floats: [1, 0.5, -2] },
  shift: { dims: [1, 4, 3], floats: ramp(12) },
  each: { dims: [4, 1], floats: ramp(4) },
  table: { dims: [3], floats: [0.25, -1, 2] },
  half: { dims: [], floats: [0.5] },
}

const step = (
  op: string,
  inputs: string[],
  output: string,
  attributes: WrittenNode['attributes'] = {},
): WrittenNode => ({ op, inputs, outputs: output.split(' '), attributes })

function graphOf(nodes: readonly WrittenNode[], more: Initializers = {}, type = float): Buffer {
  return model(
    graph({
      inputs: [value('x', [0, columns], type)],
      outputs: [value('y', [0, 0])],
      initializers: initializersOf({ ...constants, ...more }),
      nodes: nodes.map(node),
    }),
    { '': 18 },
  )
}

const tokens = step('Reshape', ['x', 'four'], 't')
const flat = step('Reshape', ['z', 'flat'], 'y')
/** A graph of tokens `t` whose nodes give `z`. */
const ofTokens = (...nodes: WrittenNode[]): WrittenNode[] => [tokens, ...nodes, flat]
const perm = (...order: number[]) => ({ perm: order })

const answered: [what: string, nodes: WrittenNode[]][] = [
  ['a transposition', ofTokens(step('Transpose', ['t'], 'z', perm(0, 2, 1)))],
  [
    'rows behind the tokens',
    ofTokens(
      step('Transpose', ['t'], 'r', perm(1, 0, 2)),
      step('MatMul', ['r', 'weights'], 'm'),
      step('Add', ['m', 'bias'], 'a'),
      step('Relu', ['a'], 'b'),
      step('Transpose', ['b'], 'z', perm(1, 0, 2)),
    ),
  ],
  [
    'tokens merged with the rows, and weights for each',
    ofTokens(
      step('Reshape', ['t', 'merged'], 'm'),
      step('Gemm', ['m', 'weights', 'bias'], 'g'),
      step('Reshape', ['g', 'fives'], 'z'),
    ),
  ],
  ['a sum of tokens and a constant for each', ofTokens(step('Sub', ['each', 't'], 'z'))],
  ['a product with another constant for each number', ofTokens(step('Mul', ['t', 'shift'], 'z'))],
  [
    'a quotient by the size of each token',
    ofTokens(
      step('Mul', ['t', 't'], 'q'),
      step('ReduceSum', ['q', 'axis2'], 's'),
      step('Add', ['s', 'half'], 'p'),
      step('Div', ['t', 'p'], 'z'),
    ),
  ],
  [
    'the smaller and the larger number',
    ofTokens(step('Min', ['t', 'each'], 'm'), step('Max', ['m', 'shift'], 'z')),
  ],
  [
    'a softmax of every token',
    ofTokens(step('Softmax', ['t'], 's', { axis: -1 }), step('Mul', ['s', 'half'], 'z')),
  ],
  [
    'a softmax along the tokens',
    ofTokens(
      step('Transpose', ['t'], 'r', perm(0, 2, 1)),
      step('Softmax', ['r'], 's', { axis: 2 }),
      step('Transpose', ['s'], 'z', perm(0, 2, 1)),
    ),
  ],
  ['a mean of the tokens', [tokens, step('ReduceMean', ['t', 'axis1'], 'y', { keepdims: 0 })]],
  ['the first token', [tokens, step('Gather', ['t', 'first'], 'y', { axis: 1 })]],
  ['tokens in another order, some twice', ofTokens(step('Gather', ['t', 'picked'], 'z', { axis: 1 }))],
  ['a part of each token', ofTokens(step('Slice', ['t', 'axis1', 'ends', 'axis2'], 'z'))],
  [
    'tokens joined in another order',
    ofTokens(
      step('Split', ['t'], 'a b', { axis: 1, num_outputs: 2 }),
      step('Concat', ['b', 't', 'a'], 'z', { axis: -2 }),
    ),
  ],
  [
    'parts of tokens joined in another order',
    ofTokens(
      step('Split', ['t'], 'a b c', { axis: 2, num_outputs: 3 }),
      step('Concat', ['c', 'a', 'b'], 'z', { axis: 2 }),
    ),
  ],
  [
    'dimensions that come and go',
    ofTokens(
      step('Unsqueeze', ['t', 'axis0'], 'u'),
      step('Transpose', ['u'], 'v', perm(2, 1, 3, 0)),
      step('Squeeze', ['v', 'last'], 'w'),
      step('Transpose', ['w'], 'z', perm(1, 0, 2)),
    ),
  ],
  [
    'a constant token for every row',
    ofTokens(
      step('Shape', ['x'], 's'),
      step('Slice', ['s', 'axis0', 'axis1'], 'n'),
      step('Concat', ['n', 'axis1', 'three'], 'd', { axis: 0 }),
      step('Expand', ['table', 'd'], 'e'),
      step('Concat', ['e', 't'], 'z', { axis: 1 }),
    ),
  ],
  [
    'a token that is repeated',
    ofTokens(step('Slice', ['t', 'axis0', 'axis1', 'axis1'], 'o'), step('Expand', ['o', 'repeated'], 'z')),
  ],
  [
    'products of heads',
    ofTokens(
      step('Reshape', ['x', 'heads'], 'h'),
      step('Tanh', ['h'], 'b'),
      step('Transpose', ['b'], 'k', perm(0, 1, 3, 2)),
      step('MatMul', ['b', 'k'], 'z'),
    ),
  ],
  [
    'an equation that turns its answer',
    ofTokens(step('Tanh', ['t'], 'b'), step('Einsum', ['b', 'b'], 'z', { equation: 'nid, njd -> nji' })),
  ],
  [
    'a layer normalization that is written out, behind GELU',
    ofTokens(
      step('MatMul', ['t', 'square'], 'm'),
      step('Erf', ['m'], 'e'),
      step('ReduceMean', ['e', 'last'], 'mean'),
      step('Sub', ['e', 'mean'], 'd'),
      step('Pow', ['d', 'two'], 'd2'),
      step('ReduceMean', ['d2', 'last'], 'var'),
      step('Add', ['var', 'half'], 'v'),
      step('Sqrt', ['v'], 'r'),
      step('Div', ['d', 'r'], 'q'),
      step('Mul', ['q', 'scale'], 'p'),
      step('Add', ['p', 'table'], 'z'),
    ),
  ],
]

const sizes: Initializers = {
  fives: list(-1, 4, 5),
  three: list(3),
  repeated: list(1, 6, 3),
  two: { dims: [], floats: [2] },
}

describe('a value of tokens', () => {
  it.each(answered)('answers as ONNX Runtime: %s', async (_, nodes) => {
    const bytes = graphOf(nodes, sizes)
    const rows = rowsOf(columns, { count: 40 })
    const answers = loweredAnswers(bytes, rows)
    expect(answers).toBeDefined()
    const wanted = await bareAnswers(bytes, openOnnx(bytes).layout, rows)
    expect(worstDifference(answers!, wanted)).toBeLessThanOrEqual(2e-6)
  })

  const left: [why: string, nodes: WrittenNode[]][] = [
    [
      'moves numbers to other rows',
      [step('Transpose', ['x'], 'u', perm(1, 0)), step('Reshape', ['u', 'flat'], 'y')],
    ],
    ['fits one number of rows', ofTokens(step('Reshape', ['t', 'fixed'], 'z'))],
    [
      'splits the rows among tokens',
      ofTokens(step('Transpose', ['t'], 'r', perm(1, 0, 2)), step('Reshape', ['r', 'apart'], 'z')),
    ],
    [
      'has a softmax along the rows',
      ofTokens(step('Transpose', ['t'], 'r', perm(1, 2, 0)), step('Softmax', ['r'], 'z', { axis: 2 })),
    ],
    [
      'has a softmax along a dimension that versions number differently',
      ofTokens(step('Softmax', ['t'], 'z')),
    ],
    ['reduces the rows', ofTokens(step('ReduceSum', ['t', 'axis0'], 'z'))],
    ['joins rows', ofTokens(step('Concat', ['t', 't'], 'z', { axis: 0 }))],
    ['selects rows', ofTokens(step('Gather', ['t', 'axis0'], 'z', { axis: 0 }))],
    [
      'multiplies rows by rows',
      ofTokens(
        step('Transpose', ['t'], 'r', perm(1, 0, 2)),
        step('Transpose', ['t'], 'k', perm(1, 2, 0)),
        step('MatMul', ['r', 'k'], 'z'),
      ),
    ],
    [
      'adds tokens of one row to those of another',
      ofTokens(step('Transpose', ['t'], 'r', perm(1, 0, 2)), step('Add', ['t', 'r'], 'z')),
    ],
    ['sums two letters', ofTokens(step('Einsum', ['t', 't'], 'z', { equation: 'nij,nij->n' }))],
    [
      'has a letter twice in one side of an equation',
      ofTokens(step('Einsum', ['t', 't'], 'z', { equation: 'nii,nij->nj' })),
    ],
    [
      'chooses by a number that may differ in its last bit',
      ofTokens(step('Softmax', ['t'], 's', { axis: -1 }), step('Floor', ['s'], 'z')),
    ],
    [
      'calculates with the number of rows as with a number of the row',
      [
        step('Shape', ['x'], 's'),
        step('Cast', ['s'], 'f', { to: float }),
        step('Gather', ['f', 'axis0'], 'n'),
        step('Mul', ['x', 'n'], 'y'),
      ],
    ],
  ]

  it.each(left)('is left to ONNX Runtime when it %s', (_, nodes) => {
    const more = { ...sizes, fixed: list(5, 12), apart: list(-1, 6) }
    expect(openOnnx(graphOf(nodes, more)).rows).toBeUndefined()
  })
})

describe('whole numbers', () => {
  const chosen = { rows: { dims: [9, 2], floats: ramp(18) }, offset: list(2), most: list(6), least: list(-2) }
  const limited = [step('Max', ['x', 'least'], 'a'), step('Min', ['most', 'a'], 'b')]
  const rows = { count: 30, numbers: Array.from({ length: 30 * columns }, (_, at) => ((at * 7) % 31) - 12) }

  it.each<[string, WrittenNode[]]>([
    [
      'that are limited and moved choose an embedding',
      [...limited, step('Add', ['offset', 'b'], 'c'), step('Gather', ['rows', 'c'], 'z'), flat],
    ],
    [
      'that are compared choose numbers',
      [
        step('Sub', ['x', 'offset'], 'a'),
        step('Less', ['most', 'a'], 'is'),
        step('Cast', ['is'], 'y', { to: float }),
      ],
    ],
  ])('%s, as ONNX Runtime', async (_, nodes) => {
    const bytes = graphOf(nodes, chosen, int64)
    const answers = loweredAnswers(bytes, rows)
    expect(answers).toEqual(await bareAnswers(bytes, openOnnx(bytes).layout, rows))
  })

  it('keep the digits that 32 bits do not hold', async () => {
    const far = 2 ** 25
    const bytes = graphOf(
      [
        step('Add', ['x', 'offset'], 'a'),
        step('Add', ['a', 'back'], 'b'),
        step('Cast', ['b'], 'y', { to: float }),
      ],
      { ...chosen, back: list(-(2 ** 24 - 1)) },
      int64,
    )
    const asked = { count: 1, numbers: Array.from({ length: columns }, (_, at) => far + at) }
    expect(loweredAnswers(bytes, asked)).toEqual(await bareAnswers(bytes, openOnnx(bytes).layout, asked))
  })

  it.each([2 ** 24, -(2 ** 24)])(
    'with a constant of %d, which could leave 64 bits, are left to ONNX Runtime',
    (far) => {
      const nodes = (constant: string) => [
        step('Add', ['x', constant], 'a'),
        step('Cast', ['a'], 'y', { to: float }),
      ]
      expect(openOnnx(graphOf(nodes('far'), { far: list(far) }, int64)).rows).toBeUndefined()
      expect(openOnnx(graphOf(nodes('near'), { near: list(far - Math.sign(far)) }, int64)).rows).toBeDefined()
    },
  )
})

describe('a limit', () => {
  /** Opens a graph, and returns whether it is lowered. Fails when that takes long or much memory. */
  function isLowered(bytes: Buffer): boolean {
    const [startedMs, before] = [performance.now(), process.memoryUsage()]
    const { rows } = openOnnx(bytes)
    const { arrayBuffers, heapUsed } = process.memoryUsage()
    expect(performance.now() - startedMs).toBeLessThan(2_000)
    expect(arrayBuffers + heapUsed - before.arrayBuffers - before.heapUsed).toBeLessThan(200e6)
    return rows !== undefined
  }

  const expanded = (...dims: number[]): Buffer =>
    graphOf(
      [
        tokens,
        step('Expand', ['t', 'dims'], 'e'),
        step('ReduceSum', ['e', 'axis1'], 's'),
        step('ReduceSum', ['s', 'axis2'], 'r'),
        step('Reshape', ['r', 'flat'], 'y'),
      ],
      { dims: list(...dims) },
    )

  it('of the numbers of a row: larger ones are left to ONNX Runtime', () => {
    expect(
      isLowered(
        graphOf(ofTokens(step('Unsqueeze', ['t', 'axis2'], 'u'), step('Expand', ['u', 'dims'], 'z')), {
          dims: list(1, 4, 9, 3),
        }),
      ),
    ).toBe(true)
    expect(isLowered(expanded(1, 2 ** 40, 2 ** 40))).toBe(false)
    const unsqueezed = [
      tokens,
      step('Unsqueeze', ['t', 'axis1'], 'u'),
      step('Expand', ['u', 'dims'], 'z'),
      flat,
    ]
    for (const size of [maxRowWork, 2 ** 31, 2 ** 53])
      expect(isLowered(graphOf(unsqueezed, { dims: list(1, size, 4, 3) }))).toBe(false)
  })

  it('of the sums of two constants that spread: more are left to ONNX Runtime', () => {
    const wide = (size: number): Buffer =>
      graphOf(
        ofTokens(
          step('Unsqueeze', ['t', 'last'], 'u'),
          step('Add', ['u', 'wide'], 's'),
          step('ReduceSum', ['s', 'last'], 'z'),
        ),
        {
          wide: { dims: [size], floats: ramp(size) },
        },
      )
    expect(isLowered(wide(100))).toBe(true)
    expect(isLowered(wide(100_000))).toBe(false)
  })

  it('of all lists of places: a long chain of transpositions is left to ONNX Runtime', () => {
    const chain = (count: number): Buffer =>
      graphOf(
        [
          step('Unsqueeze', ['x', 'last'], 'u'),
          step('Expand', ['u', 'wide'], 't0'),
          ...Array.from({ length: count }, (_, at) =>
            step('Transpose', [`t${at}`], `t${at + 1}`, perm(0, 2, 1)),
          ),
          step('ReduceMean', [`t${count}`, 'axis1'], 's'),
          step('ReduceMean', ['s', 'last'], 'r'),
          step('Reshape', ['r', 'flat'], 'y'),
        ],
        { wide: list(1, columns, 1_000) },
      )
    expect(isLowered(chain(100))).toBe(true)
    expect(isLowered(chain(9_000))).toBe(false)
  })

  it('of what is calculated when the graph is read: longer lists are left to ONNX Runtime', () => {
    const filled = (size: number): Buffer =>
      graphOf(
        [
          step('ConstantOfShape', ['size'], 'zeros'),
          step('Slice', ['zeros', 'axis0', 'axis1'], 'zero'),
          step('Add', ['x', 'zero'], 'y'),
        ],
        { size: list(size) },
      )
    expect(isLowered(filled(64))).toBe(true)
    for (const size of [65, 2 ** 40]) expect(isLowered(filled(size))).toBe(false)
  })

  it('of what is joined when the graph is read: sizes that double are left to ONNX Runtime', () => {
    const doubled = (times: number): Buffer =>
      graphOf([
        step('Shape', ['x'], 's0'),
        ...Array.from({ length: times }, (_, at) =>
          step('Concat', [`s${at}`, `s${at}`], `s${at + 1}`, { axis: 0 }),
        ),
        step('Gather', [`s${times}`, 'axis1'], 'width'),
        step('Concat', ['last', 'width'], 'shape', { axis: 0 }),
        step('Reshape', ['x', 'shape'], 'y'),
      ])
    expect(isLowered(doubled(5))).toBe(true)
    for (const times of [6, 500]) expect(isLowered(doubled(times))).toBe(false)
  })

  it('of the work of a row: more tokens are left to ONNX Runtime', () => {
    const products = (size: number): Buffer =>
      graphOf(
        [
          step('Unsqueeze', ['x', 'last'], 'u'),
          step('Mul', ['u', 'wide'], 't'),
          step('Transpose', ['t'], 'k', perm(0, 2, 1)),
          step('MatMul', ['k', 't'], 'p'),
          step('ReduceMean', ['p', 'axis1'], 's'),
          step('Reshape', ['s', 'flat'], 'y'),
        ],
        { wide: { dims: [size], floats: ramp(size) } },
      )
    expect(isLowered(products(100))).toBe(true)
    expect(isLowered(products(600))).toBe(false)
  })
})
