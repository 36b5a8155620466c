/**
 * Implements the activation functions of compiled networks, under the names that tfjs writes. An unknown name is refused when the artifact
 * is loaded.
 */
import { refuse } from '../errors.ts'

/** Replaces `count` values, starting at `offset`. */
export type Activation = (values: Float32Array | Float64Array, offset: number, count: number) => void

const each =
  (of: (x: number) => number): Activation =>
  (values, offset, count) => {
    for (let i = offset; i < offset + count; i++) values[i] = of(values[i]!)
  }

const seluAlpha = 1.6732632423543772
const seluScale = 1.0507009873554805

const relu: Activation = (values, offset, count) => {
  // Keeps NaN, which is refused at the end. A NaN that became 0 here would look valid.
  for (let i = offset; i < offset + count; i++) if (values[i]! < 0) values[i] = 0
}

const softmax: Activation = (values, offset, count) => {
  let max = -Infinity
  for (let i = offset; i < offset + count; i++) if (values[i]! > max) max = values[i]!
  let sum = 0
  for (let i = offset; i < offset + count; i++) {
    const power = Math.exp(values[i]! - max)
    values[i] = power
    sum += power
  }
  for (let i = offset; i < offset + count; i++) values[i] = values[i]! / sum
}

const sigmoidOf = (x: number): number => 1 / (1 + Math.exp(-x))

/** The functions by their names in tfjs' layer configurations; `linear` does nothing. */
export const activations: ReadonlyMap<string, Activation> = new Map<string, Activation>([
  ['linear', () => {}],
  ['relu', relu],
  ['relu6', each((x) => (x < 0 ? 0 : x > 6 ? 6 : x))],
  ['sigmoid', each(sigmoidOf)],
  ['tanh', each(Math.tanh)],
  ['softmax', softmax],
  ['elu', each((x) => (x < 0 ? Math.expm1(x) : x))],
  ['selu', each((x) => seluScale * (x < 0 ? seluAlpha * Math.expm1(x) : x))],
  // log(1 + eˣ), without overflowing for large x.
  ['softplus', each((x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))))],
  ['softsign', each((x) => x / (1 + Math.abs(x)))],
  ['swish', each((x) => x * sigmoidOf(x))],
])

/**
 * Returns a function that applies all of them in turn; undefined when they change nothing. Throws `artifact_invalid` for an unknown name.
 */
export function activationOf(names: readonly string[], layer: number): Activation | undefined {
  const all = names.filter((name) => name !== 'linear').map((name) => find(name, layer))
  if (all.length < 2) return all[0]
  return (values, offset, count) => {
    for (const each of all) each(values, offset, count)
  }
}

function find(name: string, layer: number): Activation {
  const found = activations.get(name)
  if (found === undefined)
    refuse(
      `dense layer ${layer} has the activation ${name}; served are ${[...activations.keys()].join(', ')}`,
    )
  return found
}
