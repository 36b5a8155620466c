/** Tests that the softmax kernel answers as the function of single numbers, in place, and leaves other numbers as they are. */
import { expect, it } from 'vitest'
import { softmaxes } from '../../../../../api/serving/network/exponentials.ts'
import { softmaxKernelOn } from '../../../../../api/serving/network/kernels/softmax-kernel.ts'
import { memoryFor } from '../../../../../api/serving/network/wasm-instance.ts'
import { seededRandom } from '../../../../../domain/statistics/random.ts'

const [runs, count, pitch, first] = [200, 12, 20, 8] as const

/** Applies the kernel to runs of numbers, and returns the memory with what the single numbers give. */
function applied(numberAt: (run: number, place: number) => number) {
  const memory = memoryFor((first + runs * pitch) * 4)
  const floats = new Float32Array(memory.buffer).fill(7)
  for (let run = 0; run < runs; run++)
    for (let place = 0; place < count; place++) floats[first + run * pitch + place] = numberAt(run, place)
  const wanted = floats.slice()
  for (let run = 0; run < runs; run++) softmaxes(wanted, first + run * pitch, count)
  softmaxKernelOn(memory)(first * 4, runs, count * 4, pitch * 4)
  return { floats, wanted }
}

/** A difference of 32 bits is rounded by its own size, which is the logarithm of its exponential. */
const limitOf = (share: number): number =>
  share < 2e-35 ? 2e-35 : 3e-7 * share * (1 + Math.abs(Math.log(share)))

it('answers as the function of single numbers, up to the last bit of their differences', () => {
  const next = seededRandom(2)
  const { floats, wanted } = applied((run) => Math.fround((next() - 0.5) * 10 ** ((run % 6) - 2)))
  for (const [at, each] of wanted.entries()) {
    // Answers below 1e-34 are given as 0.
    const off = Math.abs(floats[at]! - each)
    expect(off, `${at}: ${floats[at]} for ${each}`).toBeLessThanOrEqual(limitOf(each))
  }
})

it('gives 0 far below the largest number, and NaN where a number is missing or infinite', () => {
  const odd = [NaN, Infinity, -Infinity, 1e38, -1e38, -80, 0]
  const next = seededRandom(3)
  const { floats, wanted } = applied((run, place) =>
    place === run % count || run % 7 === 2 ? odd[run % 7]! : next(),
  )
  for (const [at, each] of wanted.entries())
    if (Number.isNaN(each)) expect(floats[at]).toBeNaN()
    else expect(Math.abs(floats[at]! - each)).toBeLessThanOrEqual(3e-7)
})
