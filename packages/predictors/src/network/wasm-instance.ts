/** Compiles and runs WebAssembly that `wasm-encoder.ts` has encoded: its memory, and its function `run`. */

const pageBytes = 65_536

/** Returns a memory of whole pages for the bytes. */
export const memoryFor = (bytes: number): WebAssembly.Memory =>
  new WebAssembly.Memory({ initial: Math.max(1, Math.ceil(bytes / pageBytes)) })

export type Run = (...parameters: number[]) => void

/** Returns the function `run` of a module, on a memory. */
export const instantiate = (module: WebAssembly.Module, memory: WebAssembly.Memory): Run =>
  new WebAssembly.Instance(module, { host: { memory } }).exports['run'] as Run
