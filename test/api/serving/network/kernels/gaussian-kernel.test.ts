/** Tests that the kernels of the error function and of GELU answer as known values, in place. */
import { expect, it } from 'vitest'
import {
  gaussianKernelOn,
  type GaussianKernel,
} from '../../../../../api/serving/network/kernels/gaussian-kernel.ts'
import { memoryFor } from '../../../../../api/serving/network/wasm-instance.ts'

/** The error function to 16 digits, by numbers on both sides of the limit between its polynomials, which is 0.9277. */
const known: [x: number, erf: number][] = [
  [0, 0],
  [1e-5, 1.1283791670579e-5],
  [0.1, 0.1124629160182849],
  [0.5, 0.5204998778130465],
  [0.9, 0.7969082124228322],
  [0.95, 0.8208908072732779],
  [1, 0.8427007929497149],
  [1.5, 0.9661051464753108],
  [2, 0.9953222650189527],
  [3, 0.9999779095030014],
  [4, 0.9999999845827421],
  [6, 1],
  [1e4, 1],
  [1e20, 1],
  [Infinity, 1],
]
const both = known.flatMap(([x, erf]) => [[x, erf] as const, [-x, -erf] as const])

/** Applies a kernel to numbers, of which whole vectors are computed. */
function applied(name: GaussianKernel, numbers: readonly number[]): number[] {
  const memory = memoryFor(4_096)
  const floats = new Float32Array(memory.buffer)
  floats.set(numbers, 4)
  gaussianKernelOn(memory, name)(16, ((numbers.length + 3) & ~3) * 4)
  expect(floats[0]).toBe(0)
  return [...floats.subarray(4, 4 + numbers.length)]
}

it('the error function is right to 1e-7 on both sides of 0', () => {
  const found = applied(
    'erf',
    both.map(([x]) => x),
  )
  for (const [at, [x, erf]] of both.entries())
    expect(Math.abs(found[at]! - erf), `erf(${x})`).toBeLessThanOrEqual(1e-7 * Math.max(Math.abs(erf), 1e-3))
})

it('GELU is half of the number, times the error function of it and 1', () => {
  const finite = both.filter(([x]) => Math.abs(x) < 1e5)
  const found = applied(
    'gelu',
    finite.map(([x]) => x * Math.SQRT2),
  )
  for (const [at, [x, erf]] of finite.entries()) {
    const wanted = (x * Math.SQRT2 * (1 + erf)) / 2
    expect(Math.abs(found[at]! - wanted), `GELU(${x} √2)`).toBeLessThanOrEqual(
      2e-7 * Math.max(Math.abs(wanted), 1),
    )
  }
})

it.each(['erf', 'gelu'] as const)('%s of a missing number is missing', (name) => {
  const [before, missing, after] = applied(name, [1, NaN, 1])
  expect(missing).toBeNaN()
  expect([before, after]).not.toContain(NaN)
})
