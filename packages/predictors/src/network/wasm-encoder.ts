/**
 * Encodes the part of WebAssembly's binary format (core specification 2.0) that SIMD loops need. Code is a list of bytes; each function
 * returns the bytes of one construct.
 */

export type Code = readonly number[]

/** Repeats code for each number from 0. */
export const each = (count: number, of: (index: number) => Code): Code =>
  Array.from({ length: count }, (_, index) => of(index)).flat()

const leb = (value: number): number[] => {
  const bytes: number[] = []
  for (;;) {
    const low = value & 0x7f
    value >>>= 7
    if (value === 0) return [...bytes, low]
    bytes.push(low | 0x80)
  }
}
/** Encodes a small number that is not negative. Its sixth bit must not be read as a sign. */
const signedLeb = (value: number): number[] => (value < 64 ? [value] : [(value & 0x7f) | 0x80, value >> 7])

const i32 = 0x7f
const v128 = 0x7b
const vector = (operation: number): number[] => [0xfd, ...leb(operation)]

export const get = (local: number): Code => [0x20, ...leb(local)]
export const set = (local: number, value: Code): Code => [...value, 0x21, ...leb(local)]
/** Pushes a constant from 0 to 8,191. */
export const constant = (value: number): Code => [0x41, ...signedLeb(value)]
export const add = (a: Code, b: Code): Code => [...a, ...b, 0x6a]
export const subtract = (a: Code, b: Code): Code => [...a, ...b, 0x6b]
export const multiply = (a: Code, b: Code): Code => [...a, ...b, 0x6c]
export const isAtMost = (a: Code, b: Code): Code => [...a, ...b, 0x4d]

export const or = (a: Code, b: Code): Code => [...a, ...b, 0x72]
/** Pushes the position of the lowest bit that is 1. */
export const lowestBit = (a: Code): Code => [...a, 0x68]
export const and = (a: Code, b: Code): Code => [...a, ...b, 0x71]
export const shiftLeft = (a: Code, b: Code): Code => [...a, ...b, 0x74]
/** Shifts right as an unsigned number. */
export const shiftRight = (a: Code, b: Code): Code => [...a, ...b, 0x76]
/** Pushes 1 if `a` is greater than `b` as unsigned numbers, otherwise 0. */
export const isMore = (a: Code, b: Code): Code => [...a, ...b, 0x4b]
export const loadByte = (at: Code, offset = 0): Code => [...at, 0x2d, 0, ...leb(offset)]
/** Loads 8 bits as a signed number. */
export const loadSignedByte = (at: Code, offset = 0): Code => [...at, 0x2c, 0, ...leb(offset)]
/** Loads 16 bits as an unsigned number. */
export const loadHalf = (at: Code, offset = 0): Code => [...at, 0x2f, 1, ...leb(offset)]
export const loadWord = (at: Code, offset = 0): Code => [...at, 0x28, 2, ...leb(offset)]
export const storeWord = (at: Code, offset: number, value: Code): Code => [
  ...at,
  ...value,
  0x36,
  2,
  ...leb(offset),
]

export const storeByte = (at: Code, value: Code): Code => [...at, ...value, 0x3a, 0, 0]
/** Pushes 0 when the double at the first address is at most the double at the second; otherwise 1, also for NaN. */
export const isDoubleBeyond = (at: Code, bound: Code): Code => [
  ...at,
  0x2b,
  3,
  0,
  ...bound,
  0x2b,
  3,
  0,
  0x65,
  0x45,
]

export const vectorBytes = 16
/** Loads four floats, or 16 bytes, from an address. */
export const load = (at: Code, offset = 0): Code => [...at, ...vector(0), 0, ...leb(offset)]
/** Loads one float into all four lanes. */
export const loadSplat = (at: Code): Code => [...at, ...vector(9), 0, 0]
export const store = (at: Code, offset: number, value: Code): Code => [
  ...at,
  ...value,
  ...vector(11),
  0,
  ...leb(offset),
]
export const zeros: Code = [...vector(12), ...Array.from({ length: 16 }, () => 0)]
/** Loads a double into the first lane, and 0 into the second one. */
export const loadDouble = (at: Code): Code => [...at, ...vector(0x5d), 0, 0]
export const addDoubles = (a: Code, b: Code): Code => [...a, ...b, ...vector(0xf0)]
/** Stores the first lane. */
export const storeDouble = (at: Code, value: Code): Code => [...at, ...value, ...vector(0x5b), 0, 0, 0]
export const addFloats = (a: Code, b: Code): Code => [...a, ...b, ...vector(0xe4)]
export const multiplyFloats = (a: Code, b: Code): Code => [...a, ...b, ...vector(0xe6)]
/** `a < b ? b : a` for each lane; NaN in `a` stays NaN. */
export const larger = (a: Code, b: Code): Code => [...a, ...b, ...vector(0xeb)]

/** Pushes a vector of 16 equal bytes. */
export const splatByte = (value: number): Code => [...vector(12), ...Array.from({ length: 16 }, () => value)]
export const addBytes = (a: Code, b: Code): Code => [...a, ...b, ...vector(0x6e)]
export const subtractBytes = (a: Code, b: Code): Code => [...a, ...b, ...vector(0x71)]
export const orBytes = (a: Code, b: Code): Code => [...a, ...b, ...vector(0x50)]
export const xorBytes = (a: Code, b: Code): Code => [...a, ...b, ...vector(0x51)]
/** For each lane, the byte of `bytes` at the position in `places`; 0 for a position above 15. */
export const selectBytes = (bytes: Code, places: Code): Code => [...bytes, ...places, ...vector(0x0e)]
/** All ones in each lane in which `a` is greater than `b` as signed bytes, otherwise 0. */
export const areBytesMore = (a: Code, b: Code): Code => [...a, ...b, ...vector(0x27)]
/** Pushes a number with the sign of each byte as a bit. */
export const signsOfBytes = (a: Code): Code => [...a, ...vector(0x64)]

/** Runs the body once, and repeats it while the condition holds after it. */
export const repeatWhile = (condition: Code, body: Code): Code => [
  0x03,
  0x40,
  ...body,
  ...condition,
  0x0d,
  0,
  0x0b,
]
/** Runs the body while the condition holds. */
export const loopWhile = (condition: Code, body: Code): Code => when(condition, repeatWhile(condition, body))
export const when = (condition: Code, body: Code): Code => [...condition, 0x04, 0x40, ...body, 0x0b]

/** The bytes `\0asm` and the version of the format. */
const signature = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]

const section = (id: number, content: number[]): number[] => [id, ...leb(content.length), ...content]
const list = (items: Code[]): number[] => [...leb(items.length), ...items.flat()]
const text = (value: string): number[] => [...leb(value.length), ...Buffer.from(value)]

/**
 * Returns a module with one function `run`, which takes integers and returns nothing. It uses the imported memory `host.memory`. Its locals
 * are the parameters, then the other integers, then the vectors.
 */
export function moduleOf(
  { parameters, numbers, vectors }: { parameters: number; numbers: number; vectors: number },
  body: Code,
): Uint8Array<ArrayBuffer> {
  const locals = list([
    [...leb(numbers), i32],
    [...leb(vectors), v128],
  ])
  const code = [...locals, ...body, 0x0b]
  return Uint8Array.from([
    ...signature,
    ...section(1, list([[0x60, ...list(Array.from({ length: parameters }, () => [i32])), 0x00]])),
    ...section(2, list([[...text('host'), ...text('memory'), 0x02, 0x00, 0x00]])),
    ...section(3, list([[0x00]])),
    ...section(7, list([[...text('run'), 0x00, 0x00]])),
    ...section(10, list([[...leb(code.length), ...code]])),
  ])
}

/** The part of the global object that Node's types do not declare. */
declare global {
  namespace WebAssembly {
    interface Memory {
      readonly buffer: ArrayBuffer
    }
    interface Module {
      readonly [Symbol.toStringTag]?: string
    }
    const Memory: new (size: { initial: number }) => Memory
    const Module: new (bytes: Uint8Array<ArrayBuffer>) => Module
    const validate: (bytes: Uint8Array<ArrayBuffer>) => boolean
    const Instance: new (
      module: Module,
      imports: { host: { memory: Memory } },
    ) => { readonly exports: Readonly<Record<string, unknown>> }
  }
}
