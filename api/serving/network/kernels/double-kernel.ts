/** Multiplies rows of 64-bit numbers by weights in WebAssembly, eight units at a time. Each sum has the order of the inputs. */
import * as wasm from '../wasm-encoder.ts'
import type { Code } from '../wasm-encoder.ts'
import { instantiate, type Run } from '../wasm-instance.ts'

const { get, set, constant, add, vectorBytes } = wasm

/** The parameters of the kernel. Addresses and strides are in bytes; those of `weights` and `y` are whole groups of units. */
const [x, weights, bias, y, rows, inputs, xStride, yStride] = [0, 1, 2, 3, 4, 5, 6, 7] as const
const parameterCount = 8
/** The local integers of the kernel. */
const [unit, left, xAt, weightAt] = [8, 9, 10, 11] as const
const numberCount = 4
const firstVector = parameterCount + numberCount
const groupVectors = 4
const groupBytes = groupVectors * vectorBytes
const sum = (at: number): number => firstVector + at
const spread = firstVector + groupVectors
const vectorCount = groupVectors + 1

/** The units whose sums are computed together. */
const groupUnits = 8
/** Rounds a number of units up to whole groups. */
export const paddedUnits = (units: number): number => Math.ceil(units / groupUnits) * groupUnits

const vectors = (of: (at: number) => Code): Code => wasm.each(groupVectors, of)

const moduleBytes = (): Uint8Array<ArrayBuffer> =>
  wasm.moduleOf(
    { parameters: parameterCount, numbers: numberCount, vectors: vectorCount },
    wasm.loopWhile(wasm.isAtMost(constant(1), get(rows)), [
      ...set(unit, constant(0)),
      ...wasm.loopWhile(wasm.isMore(get(yStride), get(unit)), [
        ...vectors((at) => set(sum(at), wasm.load(add(get(bias), get(unit)), at * vectorBytes))),
        ...set(xAt, get(x)),
        ...set(weightAt, add(get(weights), get(unit))),
        ...set(left, get(inputs)),
        ...wasm.repeatWhile(get(left), [
          ...set(spread, wasm.loadDoubleSplat(get(xAt))),
          ...vectors((at) =>
            set(
              sum(at),
              wasm.addDoubles(
                get(sum(at)),
                wasm.multiplyDoubles(get(spread), wasm.load(get(weightAt), at * vectorBytes)),
              ),
            ),
          ),
          ...set(xAt, add(get(xAt), constant(8))),
          ...set(weightAt, add(get(weightAt), get(yStride))),
          ...set(left, wasm.subtract(get(left), constant(1))),
        ]),
        ...vectors((at) => wasm.store(add(get(y), get(unit)), at * vectorBytes, get(sum(at)))),
        ...set(unit, add(get(unit), constant(groupBytes))),
      ]),
      ...set(x, add(get(x), get(xStride))),
      ...set(y, add(get(y), get(yStride))),
      ...set(rows, wasm.subtract(get(rows), constant(1))),
    ]),
  )

let compiled: WebAssembly.Module | undefined

/** Returns the kernel on a memory, with the parameters above. */
export function doubleKernelOn(memory: WebAssembly.Memory): Run {
  compiled ??= new WebAssembly.Module(moduleBytes())
  return instantiate(compiled, memory)
}
