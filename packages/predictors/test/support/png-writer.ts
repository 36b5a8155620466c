/** Writes PNG files of each kind for tests, also damaged ones. */
import { crc32, deflateSync } from 'node:zlib'

export interface PngImage {
  width: number
  height: number
  /** 0 grey, 2 colours, 3 a palette, 4 grey and alpha, 6 colours and alpha. */
  type: 0 | 2 | 3 | 4 | 6
  /** The bits of a sample. Default: 8. */
  depth?: number
  /** The samples of each row. */
  rows: readonly (readonly number[])[]
  palette?: readonly number[]
  transparency?: readonly number[]
  /** Of each row, in turn. Default: none. */
  filters?: readonly number[]
  interlace?: number
}

export const chunk = (type: string, data: Buffer): Buffer => {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(data.byteLength)
  checksum.writeUInt32BE(crc32(body))
  return Buffer.concat([length, body, checksum])
}

export const pngSignature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10])

const samplesOf = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 } as const

export function headerOf({ width, height, type, depth = 8, interlace = 0 }: Omit<PngImage, 'rows'>): Buffer {
  const data = Buffer.alloc(13)
  data.writeUInt32BE(width)
  data.writeUInt32BE(height, 4)
  data.set([depth, type, 0, 0, interlace], 8)
  return chunk('IHDR', data)
}

/** Returns the chunks between the signature and the end. */
export function chunksOf(image: PngImage): Buffer[] {
  const { rows, palette, transparency } = image
  return [
    headerOf(image),
    ...(palette === undefined ? [] : [chunk('PLTE', Buffer.from(palette))]),
    ...(transparency === undefined ? [] : [chunk('tRNS', Buffer.from(transparency))]),
    chunk('IDAT', deflateSync(filtered(rows, image))),
  ]
}

export const withChunks = (chunks: readonly Buffer[]): Buffer =>
  Buffer.concat([pngSignature, ...chunks, chunk('IEND', Buffer.alloc(0))])

export const writePng = (image: PngImage): Buffer => withChunks(chunksOf(image))

export const base64Png = (image: PngImage): string => writePng(image).toString('base64')

/** A grey image in base64, row by row. */
export const greyPng = (width: number, samples: readonly number[]): string => {
  const height = samples.length / width
  const rows = Array.from({ length: height }, (_, row) => samples.slice(row * width, (row + 1) * width))
  return base64Png({ width, height, type: 0, rows })
}

function filtered(
  rows: PngImage['rows'],
  { type, depth = 8, filters = [0] }: Pick<PngImage, 'type' | 'depth' | 'filters'>,
): Buffer {
  const step = Math.max(1, (samplesOf[type] * depth) / 8)
  const packed = rows.map((row) => pack(row, depth))
  return Buffer.concat(
    packed.map((row, at) => {
      const filter = filters[at % filters.length]!
      const above = packed[at - 1] ?? Buffer.alloc(row.length)
      const bytes = row.map((byte, place) => {
        const [left = 0, up = 0, corner = 0] = [row[place - step], above[place], above[place - step]]
        const near = [left, up, corner].toSorted(
          (one, other) => Math.abs(left + up - corner - one) - Math.abs(left + up - corner - other),
        )[0]!
        return byte - [0, left, up, Math.floor((left + up) / 2), near][filter]!
      })
      return Buffer.from([filter, ...bytes])
    }),
  )
}

/** The samples of a row, the first in the high bits of a byte. */
function pack(samples: readonly number[], depth: number): Buffer {
  const bits = samples.map((sample) => sample.toString(2).padStart(depth, '0')).join('')
  return Buffer.from((bits.match(/.{1,8}/g) ?? []).map((byte) => parseInt(byte.padEnd(8, '0'), 2)))
}
