/** Tests that a network learns the answers of another one, whatever its activations are. */
import { expect, it } from 'vitest'
import { activations } from '../../src/network/activations.ts'
import { learnAnswers } from '../../src/network/learn-answers.ts'
import type { Network } from '../../src/network/layers-model.ts'
import { compileDense } from '../../src/network/simd-predictor.ts'
import { seeded } from '../support/dense-layers.ts'

/** Features in units of their own, and layers whose widths are no multiples of four. */
const units = [1, 1_000, 0.01, 1, 1, 1]
const [hidden, outputs] = [22, 3]

function networkOf(inner: string, end: string): Network {
  const next = seeded(5)
  const [first, last] = [Math.sqrt(2 / units.length), Math.sqrt(2 / hidden)]
  return {
    inputs: units.length,
    outputs,
    layers: [
      {
        inputs: units.length,
        units: hidden,
        kernel: Float32Array.from(
          { length: units.length * hidden },
          (_, at) => (first * 1.7 * next()) / units[Math.floor(at / hidden)]!,
        ),
        bias: Float32Array.from({ length: hidden }, () => 0.2 * next()),
        activations: [inner],
      },
      {
        inputs: hidden,
        units: outputs,
        kernel: Float32Array.from({ length: hidden * outputs }, () => last * 1.7 * next()),
        bias: new Float32Array(outputs).fill(0.1),
        activations: ['linear', end],
      },
    ],
  }
}

function spoiled(network: Network): Network {
  const next = seeded(9)
  const moved = (values: Float32Array) => values.map((value) => value * (1 + 0.5 * next()))
  return {
    ...network,
    layers: network.layers.map((layer) => ({
      ...layer,
      kernel: moved(layer.kernel),
      bias: moved(layer.bias),
    })),
  }
}

function rowsOf(seed: number, rows: number): Float64Array {
  const next = seeded(seed)
  return Float64Array.from(
    { length: rows * units.length },
    (_, at) => 1.7 * next() * units[at % units.length]!,
  )
}

function answersOf(network: Network, input: Float64Array): Float32Array {
  const rows = input.length / network.inputs
  const output = new Float32Array(rows * network.outputs)
  compileDense(network).run(input, rows, output)
  return output
}

const input = rowsOf(1, 1_000)
const lessonOf = (teacher: Network) => ({ input, answers: answersOf(teacher, input) })

it.each([...activations.keys()])(
  'a spoiled network with the activation %s answers other rows at a fifth of the distance after it has learnt',
  (name) => {
    const teacher = networkOf(name === 'softmax' ? 'tanh' : name, name)
    const other = rowsOf(2, 300)
    const wanted = answersOf(teacher, other)
    const distanceOf = (network: Network) =>
      answersOf(network, other).reduce((sum, value, at) => sum + Math.abs(value - wanted[at]!), 0)
    const student = spoiled(teacher)
    const learnt = learnAnswers(student, lessonOf(teacher))
    expect(distanceOf(learnt)).toBeLessThan(distanceOf(student) / 5)
  },
)

it('learns the same weights from the same rows', () => {
  const teacher = networkOf('relu', 'sigmoid')
  const once = learnAnswers(spoiled(teacher), lessonOf(teacher))
  expect(learnAnswers(spoiled(teacher), lessonOf(teacher))).toEqual(once)
})

it.each([
  ['softmax', 'sigmoid'],
  ['relu', 'softmax', 'relu'],
])('a network with the activations %s, whose softmax is not at its end, stays as it is', (...names) => {
  const { layers, ...rest } = networkOf(names[0]!, names[1]!)
  const student = {
    ...rest,
    layers: layers.map((layer, at) => (at === 1 ? { ...layer, activations: names.slice(1) } : layer)),
  }
  expect(learnAnswers(student, { input, answers: new Float32Array(1_000 * outputs) })).toBe(student)
})
