/** Combines two lists of numbers, or a list and one number, four at a time in WebAssembly. */
import * as wasm from '../wasm-encoder.ts'
import type { Code } from '../wasm-encoder.ts'
import { instantiate, type Run } from '../wasm-instance.ts'

/** The parameters of the kernel: addresses, the bytes that are written, and those from one vector of each side to the next. */
const [a, b, to, length, stepA, stepB] = [0, 1, 2, 3, 4, 5] as const
const parameterCount = 6
/** The local integer of the kernel. */
const end = 6
const numberCount = 1
const vectorBytes = 16
const { get, set, constant, add } = wasm

const operations = {
  add: wasm.addFloats,
  subtract: wasm.subtractFloats,
  multiply: wasm.multiplyFloats,
  divide: wasm.divideFloats,
} satisfies Record<string, (a: Code, b: Code) => Code>
export type PairKernel = keyof typeof operations

export const hasPairKernel = (name: string): name is PairKernel => Object.hasOwn(operations, name)

const moduleBytes = (name: PairKernel): Uint8Array<ArrayBuffer> =>
  wasm.moduleOf({ parameters: parameterCount, numbers: numberCount, vectors: 0 }, [
    ...set(end, add(get(to), get(length))),
    ...wasm.loopWhile(wasm.isMore(get(end), get(to)), [
      ...wasm.store(get(to), 0, operations[name](wasm.load(get(a)), wasm.load(get(b)))),
      ...set(a, add(get(a), get(stepA))),
      ...set(b, add(get(b), get(stepB))),
      ...set(to, add(get(to), constant(vectorBytes))),
    ]),
  ])

const compiled = new Map<PairKernel, WebAssembly.Module>()

/** Returns a kernel on a memory: `run(a, b, to, bytes, bytes from one vector of a to the next, of b)`. */
export function pairKernelOn(memory: WebAssembly.Memory, name: PairKernel): Run {
  const module = compiled.get(name) ?? new WebAssembly.Module(moduleBytes(name))
  compiled.set(name, module)
  return instantiate(module, memory)
}
