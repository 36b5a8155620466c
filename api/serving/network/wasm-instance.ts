/** Compiles and runs WebAssembly that `wasm-encoder.ts` has encoded: its memory, and its function `run`. */
import { addFloats, multiplyAddFloats, multiplyFloats, type Code } from './wasm-encoder.ts'

const pageBytes = 65_536

/** Returns a memory of whole pages for the bytes. */
export const memoryFor = (bytes: number): WebAssembly.Memory =>
  new WebAssembly.Memory({ initial: Math.max(1, Math.ceil(bytes / pageBytes)) })

export type Run = (...parameters: number[]) => void

/** Returns the function `run` of a module, on a memory. */
export const instantiate = (module: WebAssembly.Module, memory: WebAssembly.Memory): Run =>
  new WebAssembly.Instance(module, { host: { memory } }).exports['run'] as Run

/** The code of a · b + sum. */
export type MultiplyAdd = (sum: Code, a: Code, b: Code) => Code
/** Rounds the product and the sum. */
export const inTwoSteps: MultiplyAdd = (sum, a, b) => addFloats(sum, multiplyFloats(a, b))

/** Compiles code that multiplies and adds with one rounding where Node knows the instruction. Node 20 does not. */
export function compileFused(
  codeWith: (multiplyAdd: MultiplyAdd) => Uint8Array<ArrayBuffer>,
): WebAssembly.Module {
  const code = codeWith(multiplyAddFloats)
  return new WebAssembly.Module(WebAssembly.validate(code) ? code : codeWith(inTwoSteps))
}
