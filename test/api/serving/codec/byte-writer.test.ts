/** Tests the bytes of responses: numbers that read back equal, ids and buffer growth. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  createByteWriter,
  maxFloatBytes,
  writeText,
  writeFloat,
  writeId,
  writeInteger,
  reserve,
  type ByteWriter,
} from '../../../../api/serving/codec/byte-writer.ts'

const written = (write: (writer: ByteWriter) => void): string => {
  const writer = createByteWriter()
  write(writer)
  return writer.bytes.toString('latin1', 0, writer.at)
}
const float = (value: number): string => written((writer) => writeFloat(writer, value))
const bits = new Uint32Array(1)
const ofBits = (pattern: number): number => {
  bits[0] = pattern
  return new Float32Array(bits.buffer)[0]!
}

describe('a 32-bit number', () => {
  const expectFaithful = (value: number): void => {
    const text = float(value)
    expect(text).toMatch(/^-?(0|[1-9]\d*)(\.\d+)?(e[+-]?\d+)?$/)
    expect(text.length).toBeLessThanOrEqual(maxFloatBytes)
    expect(Math.fround(JSON.parse(text) as number), text).toBe(value === 0 ? 0 : value)
  }

  it('reads back as the same 32 bits for all bit patterns', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), (pattern) => {
        const value = ofBits(pattern)
        if (Number.isFinite(value)) expectFaithful(value)
      }),
      { numRuns: 20_000 },
    )
  })

  it('reads back equal at and next to every power of two and of ten', () => {
    for (let exponent = 0; exponent < 255; exponent++)
      for (const mantissa of [0, 1, 0x7fffff]) expectFaithful(ofBits(exponent * 0x80_0000 + mantissa))
    for (let tens = -45; tens <= 38; tens++) {
      const pattern = new Uint32Array(Float32Array.of(Number(`1e${tens}`)).buffer)[0]!
      for (const beside of [-1, 0, 1]) if (pattern + beside >= 0) expectFaithful(ofBits(pattern + beside))
    }
  })

  it.each([
    [0, '0'],
    [-0, '0'],
    [1, '1'],
    [-1, '-1'],
    [0.5, '0.5'],
    [0.2, '0.2'],
    [0.1, '0.1'],
    [100, '100'],
    [1234.5, '1234.5'],
    [0.3, '0.30000001'],
    [1e-6, '0.00000099999999'],
    [1e-7, '0.0000001'],
    [1e-10, '1e-10'],
    [2.5e-9, '2.5e-9'],
    [16777216, '16777216'],
    [9.9999999, '10'],
    [0.99999994, '0.99999994'],
    [3.4028235e38, '3.4028234663852886e+38'],
  ])('%s is written %s', (value, text) => expect(float(Math.fround(value))).toBe(text))

  it('has at most nine digits in the range of model outputs', () => {
    fc.assert(
      fc.property(fc.float({ min: Math.fround(1e-6), max: Math.fround(1e6), noNaN: true }), (value) => {
        expect(float(value).replaceAll(/^[-0.]+|[-.]/g, '').length).toBeLessThanOrEqual(9)
      }),
      { numRuns: 2_000 },
    )
  })
})

it('integers, fragments and ids are written', () => {
  for (const value of [0, 9, 10, 99, 100, 1_000, 65_535, 999_999_999])
    expect(written((writer) => writeInteger(writer, value))).toBe(String(value))
  expect(written((writer) => writeText(writer, Buffer.from('€')))).toBe(Buffer.from('€').toString('latin1'))
  const id = Uint8Array.from({ length: 16 }, (_, index) => index * 16 + 1)
  expect(written((writer) => writeId(writer, id, 0xabcd))).toBe('01112131-4151-6171-8191-a1b1c1d1abcd')
})

it('the writer grows and keeps its content', () => {
  const writer = createByteWriter()
  writeText(writer, Buffer.from('abc'))
  reserve(writer, 1_000_000)
  expect(writer.bytes.byteLength).toBeGreaterThanOrEqual(1_000_003)
  expect(writer.bytes.toString('latin1', 0, writer.at)).toBe('abc')
})
