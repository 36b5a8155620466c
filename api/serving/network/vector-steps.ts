/** Creates the steps of a row program that apply a function to each number, four at a time in WebAssembly. */
import {
  addBuffer,
  addStep,
  firstFloat,
  type RowBuffer,
  type RowProgram,
  type RowView,
} from './row-program.ts'
import { writeFunction, type VectorFunction } from './vector-functions.ts'
import * as wasm from './wasm-encoder.ts'
import { compileFused, instantiate, type MultiplyAdd } from './wasm-instance.ts'

/** The parameters of a module: the rows, the bytes of a row, and an address and a stride in bytes for the results and for each input. */
const [rows, width, y, yStride] = [0, 1, 2, 3] as const
const parametersWith = (inputs: number): number => 4 + 2 * inputs
const addressOf = (input: number): number => parametersWith(input)
const strideOf = (input: number): number => parametersWith(input) + 1
const { get, set, add, constant, vectorBytes } = wasm

/** Encodes a function over rows. An input of a single number per row counts for all columns. */
function moduleWith(
  of: VectorFunction,
  isSingle: readonly boolean[],
  multiplyAdd: MultiplyAdd,
): Uint8Array<ArrayBuffer> {
  const parameters = parametersWith(isSingle.length)
  const column = parameters
  const inputs = isSingle.map((_, input) => parameters + 1 + input)
  const { once, before, result, variables } = writeFunction(of, inputs.map(get), {
    local: parameters + 1 + inputs.length,
    multiplyAdd,
  })
  const loop = wasm.loopWhile(get(rows), [
    ...inputs.flatMap((local, input) =>
      isSingle[input]! ? set(local, wasm.loadSplat(get(addressOf(input)))) : [],
    ),
    ...set(column, constant(0)),
    ...wasm.loopWhile(wasm.isMore(get(width), get(column)), [
      ...inputs.flatMap((local, input) =>
        isSingle[input]! ? [] : set(local, wasm.load(add(get(addressOf(input)), get(column)))),
      ),
      ...before,
      ...wasm.store(add(get(y), get(column)), 0, result),
      ...set(column, add(get(column), constant(vectorBytes))),
    ]),
    ...inputs.flatMap((_, input) => set(addressOf(input), add(get(addressOf(input)), get(strideOf(input))))),
    ...set(y, add(get(y), get(yStride))),
    ...set(rows, wasm.subtract(get(rows), constant(1))),
  ])
  return wasm.moduleOf({ parameters, numbers: 1, vectors: inputs.length + variables }, [...once, ...loop])
}

const modules = new WeakMap<VectorFunction, Map<string, WebAssembly.Module>>()

function moduleOf(of: VectorFunction, isSingle: readonly boolean[]): WebAssembly.Module {
  const variants = modules.get(of) ?? new Map<string, WebAssembly.Module>()
  modules.set(of, variants)
  const key = isSingle.join()
  const module = variants.get(key) ?? compileFused((multiplyAdd) => moduleWith(of, isSingle, multiplyAdd))
  variants.set(key, module)
  return module
}

/**
 * Applies a function to the numbers of one or more views, column by column. A view of one column counts for all columns. `inPlace`: the results
 * replace the first view, which is a whole buffer.
 */
export function addVectors(
  program: RowProgram,
  parts: readonly RowView[],
  { of, work, inPlace = false }: { of: VectorFunction; work: number; inPlace?: boolean },
): RowBuffer {
  const columns = Math.max(...parts.map((part) => part.width))
  const buffer = inPlace ? parts[0]!.buffer : addBuffer(program, columns)
  const isSingle = parts.map((part) => part.width === 1 && columns > 1)
  addStep(program, work * columns, ({ memory }) => {
    const run = instantiate(moduleOf(of, isSingle), memory)
    const addresses = parts.flatMap((part) => [firstFloat(part) * 4, part.buffer.stride * 4])
    const [to, stride] = [buffer.at * 4, buffer.stride * 4]
    // Whole buffers are one long row.
    const isOneRow = parts.every((part, at) =>
      isSingle[at]! ? part.buffer.stride === 0 : part.column === 0 && part.buffer.stride === buffer.stride,
    )
    if (isOneRow) return (count) => run(1, count * stride, to, 0, ...addresses)
    return (count) => run(count, columns * 4, to, stride, ...addresses)
  })
  return buffer
}
