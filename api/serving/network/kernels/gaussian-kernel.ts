/**
 * Computes the error function and GELU four numbers at a time in WebAssembly, with 32 bits and an error of 1e-7. Near 0 the function is a
 * polynomial, and beyond it is the exponential of one, with the coefficients of N. Juffa, which ONNX Runtime has too.
 */
import * as wasm from '../wasm-encoder.ts'
import type { Code } from '../wasm-encoder.ts'
import { instantiate, type Run } from '../wasm-instance.ts'
import {
  exponentialCode,
  polynomial,
  vectorConstantsFrom,
  type VectorConstants,
} from './vector-exponential.ts'

/** The parameters of the kernel: an address, and the bytes from there on, which are whole vectors. */
const [x, length] = [0, 1] as const
const parameterCount = 2
/** The local integer of the kernel. */
const end = 2
const numberCount = 1
/** The local vectors of the kernel; the exponential uses three after `power`. */
const firstVector = parameterCount + numberCount
const [given, number, size, square, near, power] = [0, 1, 2, 3, 4, 5].map((at) => firstVector + at) as [
  number,
  number,
  number,
  number,
  number,
  number,
]
const vectorCount = 9
const vectorBytes = 16
const { get, set, constant, add } = wasm

const nearCoefficients = [
  -5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1,
]
const farCoefficients = [
  -1.7285347e-5, 3.83197126e-4, -3.88396438e-3, 2.42546219e-2, -1.06777877e-1, -6.34846687e-1, -1.28717512e-1,
  0,
]
/** The limit between the two, by the size of the number. */
const nearest = 0.927734375

/** Sets `near` to the error function of `number`. */
const errorFunction = (constants: VectorConstants): Code => [
  ...set(size, wasm.sizes(get(number))),
  ...set(square, wasm.multiplyFloats(get(number), get(number))),
  ...set(
    near,
    wasm.addFloats(
      wasm.multiplyFloats(polynomial(nearCoefficients, square, constants), get(number)),
      get(number),
    ),
  ),
  ...exponentialCode(
    wasm.subtractFloats(polynomial(farCoefficients, size, constants), get(size)),
    power,
    constants,
  ),
  ...set(power, wasm.subtractFloats(constants.of(1), get(power))),
  ...set(power, wasm.withSigns(get(power), get(number), constants.of(-0))),
  ...set(near, wasm.choose(get(power), get(near), wasm.areLess(constants.of(nearest), get(size)))),
]

/** What a kernel computes before and after the error function. */
const kernels = {
  erf: { before: () => get(given), after: () => get(near) },
  gelu: {
    before: (constants: VectorConstants) => wasm.multiplyFloats(get(given), constants.of(Math.SQRT1_2)),
    after: (constants: VectorConstants) =>
      wasm.multiplyFloats(
        wasm.multiplyFloats(get(given), constants.of(0.5)),
        wasm.addFloats(get(near), constants.of(1)),
      ),
  },
}

function moduleWith({ before, after }: (typeof kernels)[GaussianKernel]): Uint8Array<ArrayBuffer> {
  const constants = vectorConstantsFrom(firstVector + vectorCount)
  const body = wasm.loopWhile(wasm.isMore(get(end), get(x)), [
    ...set(given, wasm.load(get(x))),
    ...set(number, before(constants)),
    ...errorFunction(constants),
    ...wasm.store(get(x), 0, after(constants)),
    ...set(x, add(get(x), constant(vectorBytes))),
  ])
  const vectors = vectorCount + constants.count()
  return wasm.moduleOf({ parameters: parameterCount, numbers: numberCount, vectors }, [
    ...constants.setup(),
    ...set(end, add(get(x), get(length))),
    ...body,
  ])
}

export type GaussianKernel = keyof typeof kernels

const compiled = new Map<GaussianKernel, WebAssembly.Module>()

/** Returns a kernel on a memory: `run(address, bytes)`. */
export function gaussianKernelOn(memory: WebAssembly.Memory, name: GaussianKernel): Run {
  const module = compiled.get(name) ?? new WebAssembly.Module(moduleWith(kernels[name]))
  compiled.set(name, module)
  return instantiate(module, memory)
}
