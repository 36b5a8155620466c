/** Encodes and decodes tar headers. */

export const block = 512
/** The largest size in octal digits; a larger size is written in binary. */
const maxOctal = 8 ** 11 - 1

/** POSIX ustar; GNU format for a size beyond the octal field. */
export function headerOf(name: string, size: number): Buffer {
  const header = Buffer.alloc(block)
  header.write(name, 0, 100)
  header.write('0000600\0', 100)
  header.write('0000000\0', 108)
  header.write('0000000\0', 116)
  if (size <= maxOctal) header.write(`${octal(size, 11)}\0`, 124)
  else {
    header[124] = 0x80
    header.writeBigUInt64BE(BigInt(size), 128)
  }
  header.write(`${octal(Math.floor(Date.now() / 1_000), 11)}\0`, 136)
  header.write('0', 156)
  header.write('ustar\0', 257, 'latin1')
  header.write('00', 263)
  header.write(`${octal(sumOf(header), 6)}\0 `, 148)
  return header
}

const octal = (value: number, digits: number): string => value.toString(8).padStart(digits, '0')

/** The checksum counts its own field as spaces. */
function sumOf(header: Buffer): number {
  let sum = 0
  for (let i = 0; i < block; i++) sum += i >= 148 && i < 156 ? 0x20 : header[i]!
  return sum
}

/** Decodes a header; undefined for other bytes, `damaged` for a wrong checksum. */
export function readHeader(header: Buffer): { name: string; bytes: number; damaged: boolean } | undefined {
  if (header.toString('latin1', 257, 262) !== 'ustar') return undefined
  const name = header.toString('utf8', 0, 100).replace(/\0.*$/s, '')
  const bytes =
    header[124] === 0x80
      ? Number(header.readBigUInt64BE(128))
      : Number.parseInt(header.toString('latin1', 124, 135), 8)
  return { name, bytes, damaged: Number.parseInt(header.toString('latin1', 148, 154), 8) !== sumOf(header) }
}
