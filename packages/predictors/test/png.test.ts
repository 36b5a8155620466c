/** Tests that PNG files become the numbers that the standard gives, and that all others are refused before they take memory. */
import { deflateSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { writePixels, type ImageShape } from '../src/png.ts'
import { base64Png, chunk, chunksOf, headerOf, pngSignature, withChunks } from './support/png-writer.ts'
import type { PngImage } from './support/png-writer.ts'

const shaped = (channels: ImageShape['channels'], order: ImageShape['order'] = 'HWC'): ImageShape => ({
  height: 2,
  width: 3,
  channels,
  order,
})

function pixelsOf(text: string | null, shape: ImageShape): number[] | string {
  const into = new Float64Array(shape.height * shape.width * shape.channels + 2).fill(-1)
  const issue = writePixels(text, shape, into, 1)
  // Nothing beside the image is written.
  expect([into[0], into.at(-1)]).toEqual([-1, -1])
  return issue ?? [...into.subarray(1, -1)]
}

const size = { width: 3, height: 2 }
const grey: PngImage = {
  ...size,
  type: 0,
  rows: [
    [0, 128, 255],
    [7, 8, 200],
  ],
}
const colours: PngImage = {
  ...size,
  type: 2,
  rows: [
    [1, 2, 3, 40, 50, 60, 255, 254, 253],
    [9, 8, 7, 0, 0, 0, 100, 200, 30],
  ],
}
const flat = ({ rows }: PngImage): number[] => rows.flat()
const tripled = (samples: readonly number[]): number[] =>
  samples.flatMap((sample) => [sample, sample, sample])
const withAlpha = (samples: readonly number[], alphas: readonly number[]): number[] =>
  alphas.flatMap((alpha, at) => [...samples.slice(3 * at, 3 * at + 3), alpha])
const opaque = Array<number>(6).fill(255)

describe('the pixels of a PNG', () => {
  it.each<[string, PngImage, ImageShape['channels'], number[]]>([
    ['grey as grey', grey, 1, flat(grey)],
    ['grey as colours', grey, 3, tripled(flat(grey))],
    ['colours as they are', colours, 3, flat(colours)],
    ['colours with alpha', colours, 4, withAlpha(flat(colours), opaque)],
    [
      'opaque grey and alpha',
      { ...size, type: 4, rows: grey.rows.map((row) => row.flatMap((sample) => [sample, 255])) },
      1,
      flat(grey),
    ],
    [
      'colours and alpha',
      { ...size, type: 6, rows: colours.rows.map((row) => withAlpha(row, [0, 7, 255])) },
      4,
      withAlpha(flat(colours), [0, 7, 255, 0, 7, 255]),
    ],
    [
      'one transparent colour',
      { ...colours, transparency: [0, 40, 0, 50, 0, 60] },
      4,
      withAlpha(flat(colours), [255, 0, 255, 255, 255, 255]),
    ],
    [
      'one transparent grey',
      { ...grey, transparency: [0, 8] },
      4,
      withAlpha(tripled(flat(grey)), [255, 255, 255, 255, 0, 255]),
    ],
    ...([1, 2, 4] as const).map((depth): [string, PngImage, 1, number[]] => {
      const most = 2 ** depth - 1
      const rows = [[0, most, 1].map((sample) => Math.min(sample, most)), [most, 0, most]]
      return [
        `grey of ${depth} bits`,
        { ...size, type: 0, depth, rows },
        1,
        rows.flat().map((sample) => (sample / most) * 255),
      ]
    }),
    ...([1, 2, 4, 8] as const).map((depth): [string, PngImage, 3, number[]] => [
      `a palette of ${depth} bits`,
      {
        ...size,
        type: 3,
        depth,
        palette: [9, 8, 7, 60, 50, 40],
        rows: [
          [0, 1, 1],
          [1, 0, 0],
        ],
      },
      3,
      [0, 1, 1, 1, 0, 0].flatMap((entry) => (entry === 0 ? [9, 8, 7] : [60, 50, 40])),
    ]),
    [
      'a palette with alpha',
      {
        ...size,
        type: 3,
        palette: [9, 8, 7, 60, 50, 40],
        transparency: [12],
        rows: [
          [0, 1, 1],
          [1, 0, 0],
        ],
      },
      4,
      [0, 1, 1, 1, 0, 0].flatMap((entry) => (entry === 0 ? [9, 8, 7, 12] : [60, 50, 40, 255])),
    ],
  ])('are read from %s', (_kind, image, channels, wanted) => {
    expect(pixelsOf(base64Png(image), shaped(channels))).toEqual(wanted)
    const planes = Array.from({ length: channels }, (_, channel) =>
      wanted.filter((_sample, at) => at % channels === channel),
    )
    expect(pixelsOf(base64Png(image), shaped(channels, 'CHW'))).toEqual(planes.flat())
  })

  it.each([0, 1, 2, 3, 4])('are read behind the filter %i', (filter) => {
    const rows = Array.from({ length: 9 }, (_, row) =>
      Array.from({ length: 21 }, (__, at) => (row * 37 + at * at * 11) % 256),
    )
    const image: PngImage = { width: 7, height: 9, type: 2, rows, filters: [filter, 4, filter, 1] }
    expect(pixelsOf(base64Png(image), { height: 9, width: 7, channels: 3, order: 'HWC' })).toEqual(
      rows.flat(),
    )
  })

  it('are read from several parts, beside parts that say nothing of them', () => {
    const [header, data] = chunksOf(grey) as [Buffer, Buffer]
    const compressed = data.subarray(8, -4)
    const file = withChunks([
      header,
      chunk('gAMA', Buffer.alloc(4)),
      ...[...compressed].map((byte) => chunk('IDAT', Buffer.from([byte]))),
    ])
    expect(pixelsOf(file.toString('base64'), shaped(1))).toEqual(flat(grey))
  })

  it('are NaN where the image is missing', () => {
    expect(pixelsOf(null, shaped(3))).toEqual(Array(18).fill(NaN))
  })
})

describe('an image is refused', () => {
  const [header, data] = chunksOf(grey) as [Buffer, Buffer]
  const damage = (file: Buffer, at: number): Buffer => {
    const damaged = Buffer.from(file)
    damaged[at]! ^= 1
    return damaged
  }
  const whole = withChunks([header, data])
  const inflating = (bytes: number) => withChunks([header, chunk('IDAT', deflateSync(Buffer.alloc(bytes)))])
  const plain = (more: Partial<PngImage>) => withChunks(chunksOf({ ...grey, ...more }))

  it.each<[string, Buffer, string, ImageShape['channels']?]>([
    ['of another format', Buffer.from([0xff, 0xd8, 0xff, 0xe0]), 'is no PNG, and decoders of other formats'],
    ['that is empty', Buffer.alloc(0), 'is no PNG'],
    [
      'of another size',
      plain({
        width: 2,
        rows: [
          [1, 2],
          [3, 4],
        ],
      }),
      'has 2 × 2 pixels, and the model takes 3 × 2 pixels: resize it',
    ],
    [
      'of a huge size, before it is inflated',
      Buffer.concat([
        pngSignature,
        headerOf({ width: 2 ** 32 - 1, height: 2 ** 32 - 1, type: 0 }),
        Buffer.alloc(12),
      ]),
      'has 4294967295 × 4294967295 pixels',
    ],
    ['with 16 bits', plain({ depth: 16 }), 'has 16 bits a sample, and the model takes 8: save it with 8'],
    ['that is interlaced', plain({ interlace: 1 }), 'is interlaced: save it without interlacing'],
    [
      'of colours for grey',
      withChunks(chunksOf(colours)),
      'is of colours, and the model takes grey: convert it',
    ],
    [
      'of a palette for grey',
      plain({ type: 3, palette: [1, 1, 1] }),
      'is of a palette, and the model takes grey',
    ],
    [
      'with transparent pixels',
      plain({ type: 4, rows: grey.rows.map((row) => row.flatMap((sample) => [sample, 254])) }),
      'has transparent pixels, and the model takes grey: save it without',
    ],
    [
      'with one transparent colour',
      plain({ transparency: [0, 8] }),
      'has transparent pixels, and the model takes colours',
      3,
    ],
    [
      'of a depth that its kind lacks',
      plain({ type: 2, depth: 4, rows: [] }),
      'its header is of no kind that PNG has',
    ],
    [
      'of no kind',
      withChunks([headerOf({ ...size, type: 5 as 4 }), data]),
      'its header is of no kind that PNG has',
    ],
    ['without a header', withChunks([data]), 'it does not begin with its header'],
    [
      'with a short header',
      withChunks([chunk('IHDR', Buffer.alloc(12)), data]),
      'its header has another length',
    ],
    ['with a wrong checksum', damage(whole, whole.length - 14), 'the checksum of "IDAT" is wrong'],
    ['that ends in a part', whole.subarray(0, 50), 'it ends early'],
    ['without its end', whole.subarray(0, -12), 'it ends early'],
    [
      'with an unknown part that it needs',
      withChunks([header, chunk('ABCD', Buffer.alloc(0)), data]),
      'it has the unknown part "ABCD"',
    ],
    [
      'whose pixels are no zlib',
      withChunks([header, chunk('IDAT', Buffer.alloc(9))]),
      'its pixels cannot be inflated',
    ],
    ['with fewer pixels', inflating(7), 'it has fewer pixels than its header says'],
    [
      'with more bytes than its pixels need',
      withChunks([header, chunk('IDAT', Buffer.alloc(4_096))]),
      'it has more bytes than its pixels need',
    ],
    ['with 256 KiB of pixels', inflating(2 ** 18), 'it has more pixels than its header says'],
    [
      'with an unknown filter',
      withChunks([header, chunk('IDAT', deflateSync(Buffer.alloc(8, 5)))]),
      'it has the unknown filter 5',
    ],
    [
      'outside of its palette',
      plain({ type: 3, palette: [1, 1, 1] }),
      'a pixel is outside of its palette',
      3,
    ],
  ])('%s', (_what, file, why, channels = 1) => {
    const found = pixelsOf(file.toString('base64'), shaped(channels))
    expect(found).toEqual(expect.stringContaining(why))
  })

  it('or read, and no error thrown, whatever byte of it differs and wherever it ends', () => {
    const refusals = new Set<string>()
    for (let at = 0; at < whole.length; at++)
      for (const file of [damage(whole, at), whole.subarray(0, at)]) {
        const found = pixelsOf(file.toString('base64'), shaped(1))
        if (typeof found === 'string') refusals.add(found)
        // Only behind the checksum of the end does a byte change nothing.
        else expect(found).toEqual(flat(grey))
      }
    expect(refusals.size).toBeGreaterThan(3)
  })
})
