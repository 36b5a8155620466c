// @ts-check
// Finds the two files of onnxruntime-web that exported graphs need. A packed Tenure holds copies of them, because the whole package has
// 136 MB.
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

/** The module that a predictor is bundled with. */
export const runtimeModule = 'ort.wasm.bundle.min.mjs'
/** What computes, in WebAssembly: a file beside the predictor. */
export const runtimeWasm = 'ort-wasm-simd-threaded.wasm'

/** The folder of the files in a packed Tenure. @param {string} root */
export const packedRuntime = (root) => join(root, 'dist', 'onnxruntime-web')

/** The folder of the files in a checkout. Throws where the package is not installed. */
export const installedRuntime = () =>
  dirname(createRequire(import.meta.url).resolve(`onnxruntime-web/${runtimeWasm}`))
