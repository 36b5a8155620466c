/** Tests that the kernels of pairs give the bits of 32-bit arithmetic, for lists and for a list and one number. */
import { expect, it } from 'vitest'
import { pairKernelOn, type PairKernel } from '../../../../../api/serving/network/kernels/pair-kernel.ts'
import { memoryFor } from '../../../../../api/serving/network/wasm-instance.ts'

const operations: Record<PairKernel, (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  subtract: (a, b) => a - b,
  multiply: (a, b) => a * b,
  divide: (a, b) => a / b,
}
const odd = [0, -0, 1, -1.5, 3e38, -3e38, 1e-40, Infinity, -Infinity, NaN, 0.1, 1 / 3]
const [left, right] = [odd.flatMap((each) => odd.map(() => each)), odd.flatMap(() => odd)].map((list) =>
  list.map(Math.fround),
) as [number[], number[]]

it.each(Object.keys(operations) as PairKernel[])('%s answers as single numbers do', (name) => {
  const memory = memoryFor(8_192)
  const floats = new Float32Array(memory.buffer)
  const count = left.length
  floats.set(left, 0)
  floats.set(right, count)
  const run = pairKernelOn(memory, name)
  run(0, count * 4, count * 8, count * 4, 16, 16)
  const wanted = left.map((a, at) => Math.fround(operations[name](a, right[at]!)))
  expect([...floats.subarray(count * 2, count * 3)]).toEqual(wanted)
  // One number for the whole list, in place.
  floats.fill(right[10]!, count, count + 4)
  run(0, count * 4, 0, count * 4, 16, 0)
  expect([...floats.subarray(0, count)]).toEqual(
    left.map((a) => Math.fround(operations[name](a, right[10]!))),
  )
})
