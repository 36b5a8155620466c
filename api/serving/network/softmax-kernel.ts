/**
 * Computes softmaxes four numbers at a time in WebAssembly, with 32 bits: attention takes one for each token and head, which would take most
 * of the time of a row. Its exponential is that of Cephes, with a relative error of 1e-7.
 */
import * as wasm from './wasm-encoder.ts'
import { instantiate, type Run } from './wasm-instance.ts'
import type { Code } from './wasm-encoder.ts'

/** The parameters of the kernel: addresses and lengths are in bytes, `length` whole vectors. */
const [x, runs, length, pitch] = [0, 1, 2, 3] as const
const parameterCount = 4
/** The local integers of the kernel. */
const [at, end] = [4, 5] as const
const numberCount = 2
/** The local vectors of the kernel. */
const firstVector = parameterCount + numberCount
const [most, sum, power, rest, whole, distance] = Array.from(
  { length: 6 },
  (_, index) => firstVector + index,
) as [number, number, number, number, number, number]
const vectorCount = 6
const vectorBytes = 16
const { get, set, constant, add } = wasm

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

/** Sets `power` to the exponential of a vector of numbers up to 0. */
function exponential(of: Code): Code {
  const product = (a: number, b: number): Code => wasm.multiplyFloats(get(a), get(b))
  return [
    ...set(distance, of),
    ...set(rest, wasm.larger(get(distance), wasm.splatFloat(least))),
    ...set(
      power,
      wasm.addFloats(wasm.multiplyFloats(get(rest), wasm.splatFloat(Math.LOG2E)), wasm.splatFloat(rounding)),
    ),
    ...set(whole, wasm.subtractFloats(get(power), wasm.splatFloat(rounding))),
    ...set(rest, wasm.subtractFloats(get(rest), wasm.multiplyFloats(get(whole), wasm.splatFloat(ln2High)))),
    ...set(rest, wasm.subtractFloats(get(rest), wasm.multiplyFloats(get(whole), wasm.splatFloat(ln2Low)))),
    ...set(whole, wasm.shiftWordsLeft(get(power), 23)),
    ...set(power, wasm.splatFloat(coefficients[0]!)),
    ...coefficients
      .slice(1)
      .flatMap((coefficient) =>
        set(power, wasm.addFloats(product(power, rest), wasm.splatFloat(coefficient))),
      ),
    ...set(power, wasm.addFloats(wasm.multiplyFloats(product(power, rest), get(rest)), get(rest))),
    ...set(power, wasm.addFloats(get(power), wasm.splatFloat(1))),
    ...set(power, wasm.multiplyFloats(get(power), get(whole))),
    ...set(power, wasm.without(get(power), wasm.areLess(get(distance), wasm.splatFloat(least)))),
  ]
}

/** Sets all lanes of a vector to what two of them give, and those again. */
const acrossLanes = (of: (a: Code, b: Code) => Code, vector: number): Code =>
  [
    [2, 3, 0, 1],
    [1, 0, 3, 2],
  ].flatMap((lanes) => set(vector, of(get(vector), wasm.inLanes(get(vector), lanes))))

const eachVector = (body: Code): Code => [
  ...set(at, get(x)),
  ...wasm.repeatWhile(wasm.isMore(get(end), get(at)), [
    ...body,
    ...set(at, add(get(at), constant(vectorBytes))),
  ]),
]

const moduleBytes = (): Uint8Array<ArrayBuffer> =>
  wasm.moduleOf(
    { parameters: parameterCount, numbers: numberCount, vectors: vectorCount },
    wasm.loopWhile(wasm.isAtMost(constant(1), get(runs)), [
      ...set(end, add(get(x), get(length))),
      ...set(most, wasm.splatFloat(-Infinity)),
      ...eachVector(set(most, wasm.larger(get(most), wasm.load(get(at))))),
      ...acrossLanes(wasm.larger, most),
      ...set(sum, wasm.zeros),
      ...eachVector([
        ...exponential(wasm.subtractFloats(wasm.load(get(at)), get(most))),
        ...wasm.store(get(at), 0, get(power)),
        ...set(sum, wasm.addFloats(get(sum), get(power))),
      ]),
      ...acrossLanes(wasm.addFloats, sum),
      ...eachVector(wasm.store(get(at), 0, wasm.divideFloats(wasm.load(get(at)), get(sum)))),
      ...set(x, add(get(x), get(pitch))),
      ...set(runs, wasm.subtract(get(runs), constant(1))),
    ]),
  )

let compiled: WebAssembly.Module | undefined

/** Returns the kernel on a memory: `run(address, runs, bytes of a run, bytes from one run to the next)`. */
export function softmaxKernelOn(memory: WebAssembly.Memory): Run {
  compiled ??= new WebAssembly.Module(moduleBytes())
  return instantiate(compiled, memory)
}
