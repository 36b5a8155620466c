/**
 * Computes softmaxes four numbers at a time in WebAssembly, with 32 bits: attention takes one for each token and head, which would take most
 * of the time of a row.
 */
import * as wasm from '../wasm-encoder.ts'
import type { Code } from '../wasm-encoder.ts'
import { compileFused, instantiate, type MultiplyAdd, type Run } from '../wasm-instance.ts'
import { vectorFunctions, writeFunction } from '../vector-functions.ts'

/** The parameters of the kernel: addresses and lengths are in bytes, `length` whole vectors. */
const [x, runs, length, pitch] = [0, 1, 2, 3] as const
const parameterCount = 4
/** The local integers of the kernel. */
const [at, end] = [4, 5] as const
const numberCount = 2
/** The local vectors of the kernel. */
const firstVector = parameterCount + numberCount
const [most, sum, power] = [firstVector, firstVector + 1, firstVector + 2] as const
const firstVariable = firstVector + 3
const { get, set, constant, add, vectorBytes } = wasm

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

function moduleWith(multiplyAdd: MultiplyAdd): Uint8Array<ArrayBuffer> {
  const { once, before, result, variables } = writeFunction(
    vectorFunctions.softmaxTerm,
    [wasm.load(get(at)), get(most)],
    { local: firstVariable, multiplyAdd },
  )
  return wasm.moduleOf(
    { parameters: parameterCount, numbers: numberCount, vectors: firstVariable - firstVector + variables },
    [
      ...once,
      ...wasm.loopWhile(wasm.isAtMost(constant(1), get(runs)), [
        ...set(end, add(get(x), get(length))),
        ...set(most, wasm.splatFloat(-Infinity)),
        ...eachVector(set(most, wasm.larger(get(most), wasm.load(get(at))))),
        ...acrossLanes(wasm.larger, most),
        ...set(sum, wasm.zeros),
        ...eachVector([
          ...before,
          ...set(power, result),
          ...wasm.store(get(at), 0, get(power)),
          ...set(sum, wasm.addFloats(get(sum), get(power))),
        ]),
        ...acrossLanes(wasm.addFloats, sum),
        ...eachVector(wasm.store(get(at), 0, wasm.divideFloats(wasm.load(get(at)), get(sum)))),
        ...set(x, add(get(x), get(pitch))),
        ...set(runs, wasm.subtract(get(runs), constant(1))),
      ]),
    ],
  )
}

let compiled: WebAssembly.Module | undefined

/** Returns the kernel on a memory: `run(address, runs, bytes of a run, bytes from one run to the next)`. */
export function softmaxKernelOn(memory: WebAssembly.Memory): Run {
  compiled ??= compileFused(moduleWith)
  return instantiate(compiled, memory)
}
