/** Trips the limits of graphs whose values have several dimensions: beyond each, a graph is left to ONNX Runtime, soon and within its memory. */
import { describe, expect, it } from 'vitest'
import { openOnnx } from '../../../../../../api/serving/formats/onnx/open-onnx.ts'
import { maxRowWork } from '../../../../../../api/serving/formats/onnx/rows/row-value.ts'
import {
  columns,
  flat,
  graphOfTokens,
  int64,
  wholeList,
  ofTokens,
  perm,
  nodeOf,
  tokens,
} from '../../../../../support/formats/graphs/token-graphs.ts'
import { ramp, type Initializers } from '../../../../../support/formats/onnx-graphs.ts'
import type { WrittenNode } from '../../../../../support/formats/onnx-writer.ts'

describe('a limit', () => {
  /** Opens a graph, and returns whether it is lowered. Fails when that takes much processor time or memory. */
  function isLowered(bytes: Buffer): boolean {
    const [started, before] = [process.cpuUsage(), process.memoryUsage()]
    const { rows } = openOnnx(bytes)
    const { arrayBuffers, heapUsed } = process.memoryUsage()
    const { user, system } = process.cpuUsage(started)
    expect(user + system).toBeLessThan(2_000_000)
    expect(arrayBuffers + heapUsed - before.arrayBuffers - before.heapUsed).toBeLessThan(200e6)
    return rows !== undefined
  }

  const expanded = (...dims: number[]): Buffer =>
    graphOfTokens(
      [
        tokens,
        nodeOf('Expand', ['t', 'dims'], 'e'),
        nodeOf('ReduceSum', ['e', 'axis1'], 's'),
        nodeOf('ReduceSum', ['s', 'axis2'], 'r'),
        nodeOf('Reshape', ['r', 'flat'], 'y'),
      ],
      { dims: wholeList(...dims) },
    )

  it('of the numbers of a row: larger ones are left to ONNX Runtime', () => {
    expect(
      isLowered(
        graphOfTokens(
          ofTokens(nodeOf('Unsqueeze', ['t', 'axis2'], 'u'), nodeOf('Expand', ['u', 'dims'], 'z')),
          {
            dims: wholeList(1, 4, 9, 3),
          },
        ),
      ),
    ).toBe(true)
    expect(isLowered(expanded(1, 2 ** 40, 2 ** 40))).toBe(false)
    const unsqueezed = [
      tokens,
      nodeOf('Unsqueeze', ['t', 'axis1'], 'u'),
      nodeOf('Expand', ['u', 'dims'], 'z'),
      flat,
    ]
    for (const size of [maxRowWork, 2 ** 31, 2 ** 53])
      expect(isLowered(graphOfTokens(unsqueezed, { dims: wholeList(1, size, 4, 3) }))).toBe(false)
  })

  it('of the sums of two constants that spread: more are left to ONNX Runtime', () => {
    const wide = (size: number): Buffer =>
      graphOfTokens(
        ofTokens(
          nodeOf('Unsqueeze', ['t', 'last'], 'u'),
          nodeOf('Add', ['u', 'wide'], 's'),
          nodeOf('ReduceSum', ['s', 'last'], 'z'),
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
      graphOfTokens(
        [
          nodeOf('Unsqueeze', ['x', 'last'], 'u'),
          nodeOf('Expand', ['u', 'wide'], 't0'),
          ...Array.from({ length: count }, (_, at) =>
            nodeOf('Transpose', [`t${at}`], `t${at + 1}`, perm(0, 2, 1)),
          ),
          nodeOf('ReduceMean', [`t${count}`, 'axis1'], 's'),
          nodeOf('ReduceMean', ['s', 'last'], 'r'),
          nodeOf('Reshape', ['r', 'flat'], 'y'),
        ],
        { wide: wholeList(1, columns, 1_000) },
      )
    expect(isLowered(chain(100))).toBe(true)
    expect(isLowered(chain(9_000))).toBe(false)
  })

  it.each<[string, (at: number) => WrittenNode[], Initializers]>([
    [
      'Expand',
      (at) => [
        nodeOf('Expand', ['large', 'shape'], `e${at}`),
        nodeOf('Gather', [`e${at}`, 'axis0'], `g${at}`, { axis: 1 }),
      ],
      { large: { dims: [500_000], floats: Array<number>(500_000).fill(0.5) } },
    ],
    [
      'Gather',
      (at) => [nodeOf('Gather', ['large', 'i'], `c${at}`), nodeOf('Flatten', [`c${at}`], `g${at}`)],
      { large: { dims: [4_000_000, 1], floats: Array<number>(4_000_000).fill(0.5) } },
    ],
  ])(
    'of the constants of all nodes: many copies of a large one by %s are left to ONNX Runtime',
    (op, nodesOf, more) => {
      const copied = (count: number): Buffer =>
        graphOfTokens(
          [
            nodeOf('Shape', ['x'], 's'),
            nodeOf('Slice', ['s', 'axis0', 'axis1'], 'n'),
            nodeOf('Concat', ['n', 'wide'], 'shape', { axis: 0 }),
            nodeOf('Cast', ['x'], 'i', { to: int64 }),
            ...Array.from({ length: count }, (_, at) => nodesOf(at)).flat(),
            nodeOf(
              'Concat',
              Array.from({ length: count }, (_, at) => `g${at}`),
              'y',
              { axis: 1 },
            ),
          ],
          { ...more, wide: wholeList(500_000) },
        )
      expect(openOnnx(copied(3)).rows, op).toBeDefined()
      const before = process.memoryUsage().arrayBuffers
      expect(openOnnx(copied(op === 'Gather' ? 40 : 400)).rows).toBeUndefined()
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(600e6)
    },
  )

  it('of what is calculated when the graph is read: longer lists are left to ONNX Runtime', () => {
    const filled = (size: number): Buffer =>
      graphOfTokens(
        [
          nodeOf('ConstantOfShape', ['size'], 'zeros'),
          nodeOf('Slice', ['zeros', 'axis0', 'axis1'], 'zero'),
          nodeOf('Add', ['x', 'zero'], 'y'),
        ],
        { size: wholeList(size) },
      )
    expect(isLowered(filled(64))).toBe(true)
    for (const size of [65, 2 ** 40]) expect(isLowered(filled(size))).toBe(false)
  })

  it('of what is joined when the graph is read: sizes that double are left to ONNX Runtime', () => {
    const doubled = (times: number): Buffer =>
      graphOfTokens([
        nodeOf('Shape', ['x'], 's0'),
        ...Array.from({ length: times }, (_, at) =>
          nodeOf('Concat', [`s${at}`, `s${at}`], `s${at + 1}`, { axis: 0 }),
        ),
        nodeOf('Gather', [`s${times}`, 'axis1'], 'width'),
        nodeOf('Concat', ['last', 'width'], 'shape', { axis: 0 }),
        nodeOf('Reshape', ['x', 'shape'], 'y'),
      ])
    expect(isLowered(doubled(5))).toBe(true)
    for (const times of [6, 500]) expect(isLowered(doubled(times))).toBe(false)
  })

  it('of the work of a row: more tokens are left to ONNX Runtime', () => {
    const products = (size: number): Buffer =>
      graphOfTokens(
        [
          nodeOf('Unsqueeze', ['x', 'last'], 'u'),
          nodeOf('Mul', ['u', 'wide'], 't'),
          nodeOf('Transpose', ['t'], 'k', perm(0, 2, 1)),
          nodeOf('MatMul', ['k', 't'], 'p'),
          nodeOf('ReduceMean', ['p', 'axis1'], 's'),
          nodeOf('Reshape', ['s', 'flat'], 'y'),
        ],
        { wide: { dims: [size], floats: ramp(size) } },
      )
    expect(isLowered(products(100))).toBe(true)
    expect(isLowered(products(600))).toBe(false)
  })
})
