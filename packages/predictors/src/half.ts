/** Numbers of 16 bits (IEEE 754 binary16), which JavaScript has only in newer engines. */

/** The nearest number of 16 bits, of which 10 are of the fraction; half way between two, the even one. Infinity beyond them. */
export function half(value: number): number {
  const size = Math.abs(value)
  if (size >= 65_520) return Infinity
  if (size === 0) return 0
  let exponent = Math.floor(Math.log2(size))
  if (2 ** exponent > size) exponent--
  else if (2 ** (exponent + 1) <= size) exponent++
  const unit = 2 ** (Math.max(exponent, -14) - 10)
  const [units, whole] = [size / unit, Math.floor(size / unit)]
  const isUp = units - whole > 0.5 || (units - whole === 0.5 && whole % 2 === 1)
  return Math.sign(value) * (whole + (isUp ? 1 : 0)) * unit
}

/** The bits of the nearest number of 16 bits. The value is finite and below 65,520. */
export function bitsOfHalf(value: number): number {
  const size = Math.abs(half(value))
  const sign = value < 0 ? 0x8000 : 0
  if (size < 2 ** -14) return sign + size * 2 ** 24
  const exponent = Math.floor(Math.log2(size))
  return sign + (exponent + 15) * 1_024 + (size / 2 ** exponent - 1) * 1_024
}

export function halfOfBits(bits: number): number {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1_023]
  const sign = bits >> 15 === 0 ? 1 : -1
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1_024 + fraction) * 2 ** (exponent - 25))
}
