/**
 * Sums the values of a row's leaves in WebAssembly, one after the other in the order of the trees, as the libraries do. The same loop in
 * JavaScript has more instructions, so that the processor loads fewer values ahead.
 */
import * as wasm from '../../../network/wasm-encoder.ts'
import { instantiate } from '../../../network/wasm-instance.ts'
import type { Forest } from '../forest.ts'
import type { LeafNumbers, TreeKernel } from '../walk.ts'

/**
 * Plans the tables for a number of trees and leaves; they begin at `at`. Undefined for leaves of several values, several sums, or sums of
 * 32 bits.
 */
export function planSums(
  { leaves, linear, width, starts, single }: Forest,
  counts: { trees: number; leaves: number },
  at: number,
) {
  if (linear.size > 0 || width > 1 || starts.length > 1 || single) return undefined
  const sumAt = (at + 7) & ~7
  const valuesAt = sumAt + 8
  const firstAt = valuesAt + counts.leaves * 8
  return {
    end: firstAt + counts.trees * 4,
    /** Writes the tables. Returns a function that sums the values of the leaves in `found`. */
    prepare(memory: WebAssembly.Memory, { found, firstLeaf, leafOf }: LeafNumbers): () => number {
      const values = new Float64Array(memory.buffer, valuesAt, counts.leaves)
      const first = new Int32Array(memory.buffer, firstAt, counts.trees)
      const sum = new Float64Array(memory.buffer, sumAt, 1)
      for (let leaf = 0; leaf < counts.leaves; leaf++) values[leaf] = leaves[leafOf[leaf]!]!
      for (let tree = 0; tree < counts.trees; tree++) first[tree] = valuesAt + firstLeaf[tree]! * 8
      const run = instantiate(sumModule(), memory)
      const resultsAt = found.byteOffset
      const start = starts[0]!
      return () => {
        sum[0] = start
        run(resultsAt, resultsAt + counts.trees, firstAt, sumAt)
        return sum[0]
      }
    },
  }
}

/** The leaves of a kernel, with their sum. */
export const summedLeaves = (
  memory: WebAssembly.Memory,
  sums: ReturnType<typeof planSums>,
  numbers: LeafNumbers,
): Omit<TreeKernel, 'walk'> => ({
  ...numbers,
  sum: sums?.prepare(memory, numbers),
  memoryBytes: memory.buffer.byteLength + numbers.firstLeaf.byteLength + numbers.leafOf.byteLength,
})

let compiled: WebAssembly.Module | undefined

/** Builds `run(result, resultsEnd, first, sum)`, which adds the value of each result to the double at `sum`. */
function sumModule(): WebAssembly.Module {
  const { get, set, constant, add } = wasm
  const [result, resultsEnd, first, sumAt, sum] = [0, 1, 2, 3, 4] as const
  compiled ??= new WebAssembly.Module(
    wasm.moduleOf({ parameters: 4, numbers: 0, vectors: 1 }, [
      ...set(sum, wasm.loadDouble(get(sumAt))),
      ...wasm.loopWhile(wasm.isMore(get(resultsEnd), get(result)), [
        ...set(
          sum,
          wasm.addDoubles(
            get(sum),
            wasm.loadDouble(
              add(wasm.loadWord(get(first)), wasm.shiftLeft(wasm.loadByte(get(result)), constant(3))),
            ),
          ),
        ),
        ...set(result, add(get(result), constant(1))),
        ...set(first, add(get(first), constant(4))),
      ]),
      ...wasm.storeDouble(get(sumAt), get(sum)),
    ]),
  )
  return compiled
}
