/** Tests that the attributions of trees and linear networks are the Shapley values of the definition. */
import { describe, expect, it } from 'vitest'
import { columnValue } from '../../src/formats/trees/column-value.ts'
import { readForest } from '../../src/formats/trees/read-forest.ts'
import { openOnnx } from '../../src/formats/onnx/open-onnx.ts'
import type { Forest } from '../../src/formats/trees/forest.ts'
import { forestExplainer } from '../../src/formats/trees/tree-shap.ts'
import { identity } from '../../src/formats/trees/links.ts'
import { walkerOf } from '../../src/formats/trees/walk.ts'
import { linearExplainer } from '../../src/formats/tfjs-layers/format.ts'
import { seededRandom } from '@tenure/sequential'
import { readCases, readOnnxCases, type ParityCase } from '../support/parity.ts'

const forestsOf = () => [
  ...readCases().map((each) => ({ ...each, forest: readForest(each.bytes) })),
  ...readOnnxCases().flatMap((each) => {
    const { forest } = openOnnx(each.bytes)
    return forest === undefined ? [] : [{ ...each, forest }]
  }),
]
type ForestCase = ParityCase & { forest: Forest }

/** Computes the sum of an output before its link function, by walking the trees. */
function sumOf({ leaves, width, groups, starts, scale, offsets, ...forest }: Forest, output: number) {
  const walk = walkerOf({ leaves, width, groups, starts, scale, offsets, ...forest })
  const found = new Int32Array(forest.roots.length)
  return (row: Float64Array): number => {
    walk(row, 0, found)
    let sum = starts[output]!
    found.forEach((leaf, tree) => {
      const place = output - groups[tree]!
      if (place >= 0 && place < width) sum += leaves[leaf * width + place]!
    })
    return sum * scale + offsets[output]!
  }
}

/** Computes Shapley values by their definition, over all sets of players. */
function byDefinition(
  answer: (row: Float64Array) => number,
  row: Float64Array,
  background: readonly Float64Array[],
  players: Int32Array,
  count: number,
): number[] {
  const value = (set: number): number =>
    background.reduce(
      (sum, other) =>
        sum + answer(other.map((each, at) => (((set >> players[at]!) & 1) === 1 ? row[at]! : each))),
      0,
    ) / background.length
  const values = Array.from({ length: 1 << count }, (_, set) => value(set))
  const factorial = (n: number): number => (n <= 1 ? 1 : n * factorial(n - 1))
  return Array.from({ length: count }, (_, player) => {
    let sum = 0
    for (let set = 0; set < values.length; set++) {
      if (((set >> player) & 1) === 1) continue
      const size = set.toString(2).replaceAll('0', '').length
      sum +=
        ((factorial(size) * factorial(count - size - 1)) / factorial(count)) *
        (values[set | (1 << player)]! - values[set]!)
    }
    return sum
  })
}

const rowsOf = ({ forest, rows }: ForestCase): Float64Array[] =>
  rows.map((row) => Float64Array.from(row, (value, at) => columnValue(forest.columns[at]!, value)!))
const eachPlayer = (columns: number) => Int32Array.from({ length: columns }, (_, at) => at)
const size = (values: readonly number[]) => Math.max(1, ...values.map(Math.abs))

describe('trees', () => {
  const cases = forestsOf()
  it('sum with their base to the score of each row, of every library', () => {
    let explained = 0
    for (const each of cases) {
      const explainer = forestExplainer(each.forest)
      if (explainer === undefined) continue
      const rows = rowsOf(each)
      const background = rows.slice(0, 5)
      const columns = each.forest.columns.length
      for (const [index, row] of rows.slice(5, 25).entries()) {
        const output = index % each.forest.starts.length
        const question = { players: eachPlayer(columns), count: columns, output }
        const { base, score, attributions } = explainer.explain(row, background, question)
        const sum = attributions.reduce((total, value) => total + value, base)
        expect(Math.abs(sum - score), each.name).toBeLessThanOrEqual(
          1e-9 * size([score, base, ...attributions]),
        )
        const answers = [each.answers[index + 5]!].flat()
        const linked = new Float64Array(each.forest.starts.length)
        for (let k = 0; k < linked.length; k++) linked[k] = sumOf(each.forest, k)(row)
        each.forest.link(linked, 0, linked.length)
        if (answers.length === linked.length)
          expect(Math.abs(linked[output]! - answers[output]!), each.name).toBeLessThanOrEqual(
            1e-4 * size(answers),
          )
        explained++
      }
      expect(explainer.scale).toBe(each.forest.link === identity ? 'answer' : 'raw')
    }
    expect(explained).toBeGreaterThan(600)
  })

  it('are the Shapley values of the definition, with columns of one feature as one player', () => {
    let compared = 0
    for (const each of cases) {
      const explainer = forestExplainer(each.forest)
      const columns = each.forest.columns.length
      const count = Math.min(columns, 8)
      if (explainer === undefined) continue
      const players = Int32Array.from({ length: columns }, (_, at) => at % count)
      const rows = rowsOf(each)
      const background = rows.slice(0, 2)
      const output = each.forest.starts.length - 1
      const { attributions } = explainer.explain(rows[7]!, background, { players, count, output })
      const wanted = byDefinition(sumOf(each.forest, output), rows[7]!, background, players, count)
      attributions.forEach((value, player) =>
        expect(Math.abs(value - wanted[player]!), `${each.name}, feature ${player}`).toBeLessThanOrEqual(
          1e-9 * size(wanted),
        ),
      )
      compared++
    }
    expect(compared).toBeGreaterThan(30)
  })

  it('with linear leaves have no exact attribution', () => {
    const linear = cases.filter(({ forest }) => forest.linear.size > 0)
    expect(linear.length).toBeGreaterThan(0)
    for (const { forest } of linear) expect(forestExplainer(forest)).toBeUndefined()
  })
})

describe('a network of one layer', () => {
  const uniform = seededRandom(4)
  const [inputs, units] = [5, 2]
  const numbers = (length: number) => Float32Array.from({ length }, () => uniform() - 0.5)
  const layer = {
    inputs,
    units,
    kernel: numbers(inputs * units),
    bias: numbers(units),
    activations: ['sigmoid'],
  }
  const network = { inputs, outputs: units, layers: [layer] }
  const row = () => Float64Array.from({ length: inputs }, () => uniform())
  const players = Int32Array.of(0, 1, 1, 2, 0)

  it('has the Shapley values of the definition before its activation', () => {
    const explainer = linearExplainer(network)!
    expect(explainer).toMatchObject({ method: 'linear', scale: 'raw' })
    const background = [row(), row(), row()]
    const asked = row()
    const answer = (of: Float64Array) =>
      of.reduce((sum, value, at) => sum + value * layer.kernel[at * units + 1]!, layer.bias[1]!)
    const { base, score, attributions } = explainer.explain(asked, background, {
      players,
      count: 3,
      output: 1,
    })
    const wanted = byDefinition(answer, asked, background, players, 3)
    attributions.forEach((value, player) => expect(value).toBeCloseTo(wanted[player]!, 12))
    expect(attributions.reduce((sum, value) => sum + value, base)).toBeCloseTo(score, 12)
    expect(score).toBeCloseTo(answer(asked), 12)
  })

  it('without an activation answers its sum; several layers are not linear', () => {
    expect(linearExplainer({ ...network, layers: [{ ...layer, activations: ['linear'] }] })?.scale).toBe(
      'answer',
    )
    expect(linearExplainer({ ...network, layers: [layer, layer] })).toBeUndefined()
  })
})
