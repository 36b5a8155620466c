/**
 * Writes the code of the exponentials of four numbers up to 0, with a relative error of 1e-7: the polynomial of Cephes, times a power of two.
 */
import * as wasm from '../wasm-encoder.ts'
import type { Code } from '../wasm-encoder.ts'

/** The coefficients of the polynomial, the highest power first. */
const coefficients = [
  1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
]
/** ln 2 in two parts, of which the first has few digits, so that its products are exact. */
const [ln2High, ln2Low] = [0.693359375, -2.1219444e-4] as const
/** The exponentials of smaller numbers, up to 1e-35, are given as 0: processors take long for numbers without an exponent of their own. */
const least = -80
/**
 * A number beside which floats are whole. Its last bits are the exponent of 1, so that the last bits of a sum with it are the exponent of
 * a power of two.
 */
const rounding = 1.5 * 2 ** 23 + 127

const { get, set } = wasm

/** Vectors of equal numbers in locals, because the compiled code would build each one again in every pass of a loop. */
export interface VectorConstants {
  /** Pushes a vector of four equal floats. */
  of(value: number): Code
  /** Sets the locals. To be written once, before the code that reads them, when that code is complete. */
  setup(): Code
  count(): number
}

/** Keeps the constants in locals from `first` on. */
export function vectorConstantsFrom(first: number): VectorConstants {
  const values: number[] = []
  return {
    of(value) {
      const known = values.findIndex((each) => Object.is(each, value))
      return get(first + (known >= 0 ? known : values.push(value) - 1))
    },
    setup: () => values.flatMap((value, at) => set(first + at, wasm.splatFloat(value))),
    count: () => values.length,
  }
}

/** Sets the vector `power` to the exponentials of a vector, of which none is above 0. Uses the three vectors after it. */
export function exponentialCode(of: Code, power: number, constants: VectorConstants): Code {
  const [rest, whole, distance] = [power + 1, power + 2, power + 3]
  const product = (a: number, b: number): Code => wasm.multiplyFloats(get(a), get(b))
  return [
    ...set(distance, of),
    ...set(rest, wasm.larger(get(distance), constants.of(least))),
    ...set(
      power,
      wasm.addFloats(wasm.multiplyFloats(get(rest), constants.of(Math.LOG2E)), constants.of(rounding)),
    ),
    ...set(whole, wasm.subtractFloats(get(power), constants.of(rounding))),
    ...set(rest, wasm.subtractFloats(get(rest), wasm.multiplyFloats(get(whole), constants.of(ln2High)))),
    ...set(rest, wasm.subtractFloats(get(rest), wasm.multiplyFloats(get(whole), constants.of(ln2Low)))),
    ...set(whole, wasm.shiftWordsLeft(get(power), 23)),
    ...set(power, polynomial(coefficients, rest, constants)),
    ...set(power, wasm.addFloats(wasm.multiplyFloats(product(power, rest), get(rest)), get(rest))),
    ...set(power, wasm.addFloats(get(power), constants.of(1))),
    ...set(power, wasm.multiplyFloats(get(power), get(whole))),
    ...set(power, wasm.without(get(power), wasm.areLess(get(distance), constants.of(least)))),
  ]
}

/** Pushes a polynomial of a vector, whose coefficients begin with the highest power. */
export const polynomial = (given: readonly number[], of: number, constants: VectorConstants): Code =>
  given.reduce<Code>(
    (sum, coefficient, at) =>
      at === 0
        ? constants.of(coefficient)
        : wasm.addFloats(wasm.multiplyFloats(sum, get(of)), constants.of(coefficient)),
    [],
  )
