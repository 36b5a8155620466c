/**
 * Computes the error function for 32-bit results, with a relative error of 2e-8, by the quotients of W. J. Cody, "Rational Chebyshev
 * approximations for the error function" (1969). They are written out, because loops over lists of coefficients take several times as long.
 */
import { exponentialOf } from './exponentials.ts'
import type { RowFunction } from './row-steps.ts'

function errorFunction(x: number): number {
  const z = Math.abs(x)
  if (z <= 0.46875) {
    const s = x * x
    const top =
      (((0.18577770618460315 * s + 3.1611237438705655) * s + 113.86415415105016) * s + 377.485237685302) * s +
      3209.3775891384694
    const bottom =
      (((s + 23.601290952344122) * s + 244.02463793444417) * s + 1282.6165260773723) * s + 2844.236833439171
    return (x * top) / bottom
  }
  // Beyond, 1 − erf(x) is less than half of the last bit.
  if (z >= 4) return x > 0 ? 1 : -1
  const top =
    (((((((2.1531153547440383e-8 * z + 0.5641884969886701) * z + 8.883149794388377) * z + 66.11919063714163) *
      z +
      298.6351381974001) *
      z +
      881.952221241769) *
      z +
      1712.0476126340707) *
      z +
      2051.0783778260716) *
      z +
    1230.3393547979972
  const bottom =
    (((((((z + 15.744926110709835) * z + 117.6939508913125) * z + 537.1811018620099) * z +
      1621.3895745666903) *
      z +
      3290.7992357334597) *
      z +
      4362.619090143247) *
      z +
      3439.3676741437216) *
      z +
    1230.3393548037495
  const rest = (exponentialOf(-x * x) * top) / bottom
  return x > 0 ? 1 - rest : rest - 1
}

export const errorFunctions: RowFunction = (values, offset, count) => {
  for (let i = offset; i < offset + count; i++) values[i] = errorFunction(values[i]!)
}

/** GELU, exactly: x · Φ(x). */
export const gaussianUnits: RowFunction = (values, offset, count) => {
  for (let i = offset; i < offset + count; i++) {
    const x = values[i]!
    values[i] = 0.5 * x * (1 + errorFunction(x * Math.SQRT1_2))
  }
}

const rate = 2 * Math.sqrt(2 / Math.PI)

/** GELU by its approximation with a hyperbolic tangent: 0.5 · (1 + tanh(y)) is 1 / (1 + exp(−2 y)). */
export const approximateGaussianUnits: RowFunction = (values, offset, count) => {
  for (let i = offset; i < offset + count; i++) {
    const x = values[i]!
    values[i] = x / (1 + exponentialOf(-rate * (x + 0.044715 * x * x * x)))
  }
}
