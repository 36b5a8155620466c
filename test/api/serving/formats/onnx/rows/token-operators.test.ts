/** Tests graphs whose values have several dimensions, such as attention: each answers as ONNX Runtime, or is left to it. */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { openOnnx } from '../../../../../../api/serving/formats/onnx/open-onnx.ts'
import { bareAnswers, loweredAnswers, worstDifference } from '../../../../../support/formats/onnx-answers.ts'
import {
  columns,
  flat,
  float,
  graphOfTokens,
  int64,
  wholeList,
  ofTokens,
  perm,
  nodeOf,
  tokens,
} from '../../../../../support/formats/graphs/token-graphs.ts'
import { ramp, rowsOf, type Initializers } from '../../../../../support/formats/onnx-graphs.ts'
import type { WrittenNode } from '../../../../../support/formats/onnx-writer.ts'

/** A graph of PyTorch, as a script exported it. Numbers that JSON lacks are texts: nan, inf and -inf. */
interface Exported {
  name: string
  model: string
  rows: (number | string)[][]
  answers: number[][]
}

const exportsIn = (file: string): Exported[] =>
  JSON.parse(
    gunzipSync(
      readFileSync(new URL(`../../../../../support/formats/graphs/${file}`, import.meta.url)),
    ).toString(),
  ) as Exported[]

/** Of `scripts/formats/tabular/tabular_transformers.py` and of `scripts/formats/tabular/tabular_networks.py`. */
const transformers = exportsIn('tabular-transformers.json.gz')
const networks = exportsIn('tabular-networks.json.gz')

const numberOf = (cell: number | string): number => Number(String(cell).replace('inf', 'Infinity'))
const numbersOf = (rows: Exported['rows']): number[] => rows.flat().map(numberOf)

describe('a network for tables', () => {
  it.each([...transformers, ...networks].map((each) => [each.name, each] as const))(
    'as PyTorch exports it answers as ONNX Runtime: %s',
    (_, { model: file, rows, answers }) => {
      const given = loweredAnswers(Buffer.from(file, 'base64'), {
        count: rows.length,
        numbers: numbersOf(rows),
      })
      expect(given).toBeDefined()
      expect(worstDifference(given!, answers.flat())).toBeLessThanOrEqual(1e-6)
    },
  )

  it('gives a row the same bits alone and in a batch', () => {
    for (const { model: file, rows } of [...transformers.slice(0, 6), ...networks]) {
      const bytes = Buffer.from(file, 'base64')
      const together = loweredAnswers(bytes, { count: rows.length, numbers: numbersOf(rows) })
      const alone = rows.flatMap((row) => loweredAnswers(bytes, { count: 1, numbers: numbersOf([row]) })!)
      expect(alone).toEqual(together)
    }
  })
})

const answered: [what: string, nodes: WrittenNode[]][] = [
  ['a transposition', ofTokens(nodeOf('Transpose', ['t'], 'z', perm(0, 2, 1)))],
  [
    'rows behind the tokens',
    ofTokens(
      nodeOf('Transpose', ['t'], 'r', perm(1, 0, 2)),
      nodeOf('MatMul', ['r', 'weights'], 'm'),
      nodeOf('Add', ['m', 'bias'], 'a'),
      nodeOf('Relu', ['a'], 'b'),
      nodeOf('Transpose', ['b'], 'z', perm(1, 0, 2)),
    ),
  ],
  [
    'tokens merged with the rows, and weights for each',
    ofTokens(
      nodeOf('Reshape', ['t', 'merged'], 'm'),
      nodeOf('Gemm', ['m', 'weights', 'bias'], 'g'),
      nodeOf('Reshape', ['g', 'fives'], 'z'),
    ),
  ],
  ['a sum of tokens and a constant for each', ofTokens(nodeOf('Sub', ['each', 't'], 'z'))],
  ['a product with another constant for each number', ofTokens(nodeOf('Mul', ['t', 'shift'], 'z'))],
  [
    'a quotient by the size of each token',
    ofTokens(
      nodeOf('Mul', ['t', 't'], 'q'),
      nodeOf('ReduceSum', ['q', 'axis2'], 's'),
      nodeOf('Add', ['s', 'half'], 'p'),
      nodeOf('Div', ['t', 'p'], 'z'),
    ),
  ],
  [
    'the smaller and the larger number',
    ofTokens(nodeOf('Min', ['t', 'each'], 'm'), nodeOf('Max', ['m', 'shift'], 'z')),
  ],
  [
    'a softmax of every token',
    ofTokens(nodeOf('Softmax', ['t'], 's', { axis: -1 }), nodeOf('Mul', ['s', 'half'], 'z')),
  ],
  [
    'a softmax along the tokens',
    ofTokens(
      nodeOf('Transpose', ['t'], 'r', perm(0, 2, 1)),
      nodeOf('Softmax', ['r'], 's', { axis: 2 }),
      nodeOf('Transpose', ['s'], 'z', perm(0, 2, 1)),
    ),
  ],
  ['a mean of the tokens', [tokens, nodeOf('ReduceMean', ['t', 'axis1'], 'y', { keepdims: 0 })]],
  ['the first token', [tokens, nodeOf('Gather', ['t', 'first'], 'y', { axis: 1 })]],
  ['tokens in another order, some twice', ofTokens(nodeOf('Gather', ['t', 'picked'], 'z', { axis: 1 }))],
  ['a part of each token', ofTokens(nodeOf('Slice', ['t', 'axis1', 'ends', 'axis2'], 'z'))],
  [
    'tokens joined in another order',
    ofTokens(
      nodeOf('Split', ['t'], 'a b', { axis: 1, num_outputs: 2 }),
      nodeOf('Concat', ['b', 't', 'a'], 'z', { axis: -2 }),
    ),
  ],
  [
    'parts of tokens joined in another order',
    ofTokens(
      nodeOf('Split', ['t'], 'a b c', { axis: 2, num_outputs: 3 }),
      nodeOf('Concat', ['c', 'a', 'b'], 'z', { axis: 2 }),
    ),
  ],
  [
    'dimensions that come and go',
    ofTokens(
      nodeOf('Unsqueeze', ['t', 'axis0'], 'u'),
      nodeOf('Transpose', ['u'], 'v', perm(2, 1, 3, 0)),
      nodeOf('Squeeze', ['v', 'last'], 'w'),
      nodeOf('Transpose', ['w'], 'z', perm(1, 0, 2)),
    ),
  ],
  [
    'a constant token for every row',
    ofTokens(
      nodeOf('Shape', ['x'], 's'),
      nodeOf('Slice', ['s', 'axis0', 'axis1'], 'n'),
      nodeOf('Concat', ['n', 'axis1', 'three'], 'd', { axis: 0 }),
      nodeOf('Expand', ['table', 'd'], 'e'),
      nodeOf('Concat', ['e', 't'], 'z', { axis: 1 }),
    ),
  ],
  [
    'a token that is repeated',
    ofTokens(
      nodeOf('Slice', ['t', 'axis0', 'axis1', 'axis1'], 'o'),
      nodeOf('Expand', ['o', 'repeated'], 'z'),
    ),
  ],
  [
    'products of heads',
    ofTokens(
      nodeOf('Reshape', ['x', 'heads'], 'h'),
      nodeOf('Tanh', ['h'], 'b'),
      nodeOf('Transpose', ['b'], 'k', perm(0, 1, 3, 2)),
      nodeOf('MatMul', ['b', 'k'], 'z'),
    ),
  ],
  [
    'an equation that turns its answer',
    ofTokens(nodeOf('Tanh', ['t'], 'b'), nodeOf('Einsum', ['b', 'b'], 'z', { equation: 'nid, njd -> nji' })),
  ],
  [
    'a layer normalization that is written out, behind GELU',
    ofTokens(
      nodeOf('MatMul', ['t', 'square'], 'm'),
      nodeOf('Erf', ['m'], 'e'),
      nodeOf('ReduceMean', ['e', 'last'], 'mean'),
      nodeOf('Sub', ['e', 'mean'], 'd'),
      nodeOf('Pow', ['d', 'two'], 'd2'),
      nodeOf('ReduceMean', ['d2', 'last'], 'var'),
      nodeOf('Add', ['var', 'half'], 'v'),
      nodeOf('Sqrt', ['v'], 'r'),
      nodeOf('Div', ['d', 'r'], 'q'),
      nodeOf('Mul', ['q', 'scale'], 'p'),
      nodeOf('Add', ['p', 'table'], 'z'),
    ),
  ],
]

const sizes: Initializers = {
  fives: wholeList(-1, 4, 5),
  three: wholeList(3),
  repeated: wholeList(1, 6, 3),
  two: { dims: [], floats: [2] },
}

describe('a value of tokens', () => {
  it.each(answered)('answers as ONNX Runtime: %s', async (_, nodes) => {
    const bytes = graphOfTokens(nodes, sizes)
    const rows = rowsOf(columns, { count: 40 })
    const answers = loweredAnswers(bytes, rows)
    expect(answers).toBeDefined()
    const wanted = await bareAnswers(bytes, openOnnx(bytes).layout, rows)
    expect(worstDifference(answers!, wanted)).toBeLessThanOrEqual(2e-6)
  })

  const left: [why: string, nodes: WrittenNode[]][] = [
    [
      'moves numbers to other rows',
      [nodeOf('Transpose', ['x'], 'u', perm(1, 0)), nodeOf('Reshape', ['u', 'flat'], 'y')],
    ],
    ['fits one number of rows', ofTokens(nodeOf('Reshape', ['t', 'fixed'], 'z'))],
    [
      'splits the rows among tokens',
      ofTokens(nodeOf('Transpose', ['t'], 'r', perm(1, 0, 2)), nodeOf('Reshape', ['r', 'apart'], 'z')),
    ],
    [
      'has a softmax along the rows',
      ofTokens(nodeOf('Transpose', ['t'], 'r', perm(1, 2, 0)), nodeOf('Softmax', ['r'], 'z', { axis: 2 })),
    ],
    [
      'has a softmax along a dimension that versions number differently',
      ofTokens(nodeOf('Softmax', ['t'], 'z')),
    ],
    ['reduces the rows', ofTokens(nodeOf('ReduceSum', ['t', 'axis0'], 'z'))],
    ['joins rows', ofTokens(nodeOf('Concat', ['t', 't'], 'z', { axis: 0 }))],
    ['selects rows', ofTokens(nodeOf('Gather', ['t', 'axis0'], 'z', { axis: 0 }))],
    [
      'multiplies rows by rows',
      ofTokens(
        nodeOf('Transpose', ['t'], 'r', perm(1, 0, 2)),
        nodeOf('Transpose', ['t'], 'k', perm(1, 2, 0)),
        nodeOf('MatMul', ['r', 'k'], 'z'),
      ),
    ],
    [
      'adds tokens of one row to those of another',
      ofTokens(nodeOf('Transpose', ['t'], 'r', perm(1, 0, 2)), nodeOf('Add', ['t', 'r'], 'z')),
    ],
    ['sums two letters', ofTokens(nodeOf('Einsum', ['t', 't'], 'z', { equation: 'nij,nij->n' }))],
    [
      'has a letter twice in one side of an equation',
      ofTokens(nodeOf('Einsum', ['t', 't'], 'z', { equation: 'nii,nij->nj' })),
    ],
    [
      'chooses by a number that may differ in its last bit',
      ofTokens(nodeOf('Softmax', ['t'], 's', { axis: -1 }), nodeOf('Floor', ['s'], 'z')),
    ],
    [
      'calculates with the number of rows as with a number of the row',
      [
        nodeOf('Shape', ['x'], 's'),
        nodeOf('Cast', ['s'], 'f', { to: float }),
        nodeOf('Gather', ['f', 'axis0'], 'n'),
        nodeOf('Mul', ['x', 'n'], 'y'),
      ],
    ],
  ]

  it.each(left)('is left to ONNX Runtime when it %s', (_, nodes) => {
    const more = { ...sizes, fixed: wholeList(5, 12), apart: wholeList(-1, 6) }
    expect(openOnnx(graphOfTokens(nodes, more)).rows).toBeUndefined()
  })
})

describe('whole numbers', () => {
  const chosen = {
    rows: { dims: [9, 2], floats: ramp(18) },
    offset: wholeList(2),
    most: wholeList(6),
    least: wholeList(-2),
  }
  const limited = [nodeOf('Max', ['x', 'least'], 'a'), nodeOf('Min', ['most', 'a'], 'b')]
  const rows = { count: 30, numbers: Array.from({ length: 30 * columns }, (_, at) => ((at * 7) % 31) - 12) }

  it.each<[string, WrittenNode[]]>([
    [
      'that are limited and moved choose an embedding',
      [...limited, nodeOf('Add', ['offset', 'b'], 'c'), nodeOf('Gather', ['rows', 'c'], 'z'), flat],
    ],
    [
      'that are compared choose numbers',
      [
        nodeOf('Sub', ['x', 'offset'], 'a'),
        nodeOf('Less', ['most', 'a'], 'is'),
        nodeOf('Cast', ['is'], 'y', { to: float }),
      ],
    ],
  ])('%s, as ONNX Runtime', async (_, nodes) => {
    const bytes = graphOfTokens(nodes, chosen, int64)
    const answers = loweredAnswers(bytes, rows)
    expect(answers).toEqual(await bareAnswers(bytes, openOnnx(bytes).layout, rows))
  })

  it('keep the digits that 32 bits do not hold', async () => {
    const far = 2 ** 25
    const bytes = graphOfTokens(
      [
        nodeOf('Add', ['x', 'offset'], 'a'),
        nodeOf('Add', ['a', 'back'], 'b'),
        nodeOf('Cast', ['b'], 'y', { to: float }),
      ],
      { ...chosen, back: wholeList(-(2 ** 24 - 1)) },
      int64,
    )
    const asked = { count: 1, numbers: Array.from({ length: columns }, (_, at) => far + at) }
    expect(loweredAnswers(bytes, asked)).toEqual(await bareAnswers(bytes, openOnnx(bytes).layout, asked))
  })

  it.each([2 ** 24, -(2 ** 24)])(
    'with a constant of %d, which could leave 64 bits, are left to ONNX Runtime',
    (far) => {
      const nodes = (constant: string) => [
        nodeOf('Add', ['x', constant], 'a'),
        nodeOf('Cast', ['a'], 'y', { to: float }),
      ]
      expect(openOnnx(graphOfTokens(nodes('far'), { far: wholeList(far) }, int64)).rows).toBeUndefined()
      expect(
        openOnnx(graphOfTokens(nodes('near'), { near: wholeList(far - Math.sign(far)) }, int64)).rows,
      ).toBeDefined()
    },
  )
})
