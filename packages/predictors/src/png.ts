/**
 * Reads the pixels of PNG files, which are the same by every right decoder. Only what PNG (https://www.w3.org/TR/png-3/) converts exactly is
 * read. The size is compared before anything is inflated, and the inflated bytes are limited to what it needs, so that a small file cannot
 * fill the memory.
 */

/** The image that a model takes: its pixels in the order of C, either channel by channel (`CHW`) or pixel by pixel (`HWC`). */
export interface ImageShape {
  height: number
  width: number
  /** Grey, RGB or RGBA. */
  channels: 1 | 3 | 4
  order: 'CHW' | 'HWC'
}

export const numbersOfImage = ({ height, width, channels }: ImageShape): number => height * width * channels

/**
 * Writes the pixels of a PNG in base64 as numbers from 0 to 255, NaN for null. Returns why it cannot, as the end of a sentence about the
 * image; undefined when it has.
 */
export function writePixels(
  text: string | null,
  shape: ImageShape,
  into: Float64Array | Float32Array,
  at: number,
): string | undefined {
  if (text === null) {
    into.fill(NaN, at, at + numbersOfImage(shape))
    return undefined
  }
  const file = Buffer.from(text, 'base64')
  const read = readFile(file, shape)
  if (typeof read === 'string') return read
  const scanlines = inflate(read)
  if (typeof scanlines === 'string') return scanlines
  return unfilter(scanlines, read) ?? expand(scanlines, read, { shape, into, at })
}

// Node's own, at the first image: a page that an exported predictor runs in has none, and takes no image.
const zlib = () => process.getBuiltinModule('node:zlib')

interface Png {
  height: number
  /** The bytes of a row, without that of its filter. */
  stride: number
  width: number
  depth: number
  /** The bits of a pixel. */
  bits: number
  kind: Kind
  palette: Buffer
  transparency: Buffer | undefined
  compressed: Buffer
}

type Kind = 'grey' | 'colours' | 'palette' | 'grey and alpha' | 'colours and alpha'

const kinds: Readonly<Record<number, { kind: Kind; samples: number; depths: readonly number[] }>> = {
  0: { kind: 'grey', samples: 1, depths: [1, 2, 4, 8, 16] },
  2: { kind: 'colours', samples: 3, depths: [8, 16] },
  3: { kind: 'palette', samples: 1, depths: [1, 2, 4, 8] },
  4: { kind: 'grey and alpha', samples: 2, depths: [8, 16] },
  6: { kind: 'colours and alpha', samples: 4, depths: [8, 16] },
}

const signature = [0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]
const damaged = (what: string): string => `is a damaged PNG: ${what}`
const sized = ({ width, height }: { width: number; height: number }): string => `${width} × ${height} pixels`

/** Reads the chunks; a text says why they cannot be. */
function readFile(file: Buffer, shape: ImageShape): Png | string {
  if (!signature.every((byte, at) => file[at] === byte))
    return 'is no PNG, and decoders of other formats give different pixels: convert it to PNG as the images of the training were, or serve the model as code, which decodes it (job.save)'
  let found: Omit<Png, 'compressed'> | undefined
  const parts: Buffer[] = []
  for (let at = signature.length; ;) {
    if (at + 12 > file.length) return damaged('it ends early')
    const length = file.readUInt32BE(at)
    const end = at + 8 + length
    if (end + 4 > file.length) return damaged('it ends early')
    const type = file.toString('latin1', at + 4, at + 8)
    const data = file.subarray(at + 8, end)
    if (zlib().crc32(file.subarray(at + 4, end)) !== file.readUInt32BE(end))
      return damaged(`the checksum of ${JSON.stringify(type)} is wrong`)
    at = end + 4
    if (found === undefined) {
      const header = type === 'IHDR' ? readHeader(data, shape) : damaged('it does not begin with its header')
      if (typeof header === 'string') return header
      found = header
    } else if (type === 'PLTE') found.palette = data
    else if (type === 'tRNS') found.transparency = data
    else if (type === 'IDAT') parts.push(data)
    else if (type === 'IEND') return { ...found, compressed: Buffer.concat(parts) }
    // A small first letter marks what a decoder may leave out.
    else if (type < 'a') return damaged(`it has the unknown part ${JSON.stringify(type)}`)
  }
}

function readHeader(data: Buffer, shape: ImageShape): Omit<Png, 'compressed'> | string {
  if (data.length !== 13) return damaged('its header has another length')
  const [width, height] = [data.readUInt32BE(0), data.readUInt32BE(4)]
  if (width !== shape.width || height !== shape.height)
    return `has ${sized({ width, height })}, and the model takes ${sized(shape)}: resize it before it is sent, as the images of the training were`
  const [depth = 0, type = 0, compression, filter, interlace] = data.subarray(8)
  const found = kinds[type]
  if (!found?.depths.includes(depth) || compression !== 0 || filter !== 0)
    return damaged('its header is of no kind that PNG has')
  const { kind, samples } = found
  if (depth === 16) return 'has 16 bits a sample, and the model takes 8: save it with 8'
  if (interlace !== 0) return 'is interlaced: save it without interlacing'
  if (shape.channels === 1 && !kind.startsWith('grey'))
    return `is of ${kind === 'palette' ? 'a palette' : 'colours'}, and the model takes grey: convert it before it is sent, as the images of the training were`
  const bits = samples * depth
  return {
    height,
    stride: Math.ceil((width * bits) / 8),
    width,
    depth,
    bits,
    kind,
    palette: Buffer.alloc(0),
    transparency: undefined,
  }
}

/** Returns the rows with the byte of their filter each. */
function inflate({ compressed, stride, height }: Png): Buffer | string {
  const bytes = (stride + 1) * height
  // Incompressible pixels need hardly more bytes than they are; what needs twice as many would only take time.
  if (compressed.length > 2 * bytes + 1_024) return damaged('it has more bytes than its pixels need')
  try {
    const found = zlib().inflateSync(compressed, { maxOutputLength: bytes })
    return found.length === bytes ? found : damaged('it has fewer pixels than its header says')
  } catch (error) {
    return damaged(
      (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE'
        ? 'it has more pixels than its header says'
        : 'its pixels cannot be inflated',
    )
  }
}

/** Undoes the filters of the rows in place (PNG, section 9). */
function unfilter(rows: Buffer, { bits, stride, height }: Png): string | undefined {
  const step = Math.max(1, bits / 8)
  for (let row = 0; row < height; row++) {
    const start = row * (stride + 1) + 1
    const filter = rows[start - 1]!
    if (filter > 4) return damaged(`it has the unknown filter ${filter}`)
    if (filter === 0) continue
    for (let at = start; at < start + stride; at++) {
      const left = at - step < start ? 0 : rows[at - step]!
      const up = row === 0 ? 0 : rows[at - stride - 1]!
      const corner = row === 0 || at - step < start ? 0 : rows[at - stride - 1 - step]!
      rows[at] = rows[at]! + predicted(filter, left, up, corner)
    }
  }
  return undefined
}

function predicted(filter: number, left: number, up: number, corner: number): number {
  if (filter === 1) return left
  if (filter === 2) return up
  if (filter === 3) return (left + up) >> 1
  // Paeth: the neighbour nearest to left + up - corner.
  const [byLeft, byUp, byCorner] = [
    Math.abs(up - corner),
    Math.abs(left - corner),
    Math.abs(left + up - 2 * corner),
  ]
  if (byLeft <= byUp && byLeft <= byCorner) return left
  return byUp <= byCorner ? up : corner
}

interface Target {
  shape: ImageShape
  into: Float64Array | Float32Array
  at: number
}

/** Writes each pixel as the channels of the model. */
function expand(rows: Buffer, png: Png, { shape, into, at }: Target): string | undefined {
  const { width, height, stride } = png
  const { channels, order } = shape
  const isFirst = order === 'CHW'
  const [step, plane] = isFirst ? [1, width * height] : [channels, 1]
  const read = pixelReader(png)
  const pixel = [0, 0, 0, 255]
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++) {
      const issue = read(rows, row * (stride + 1) + 1, column, pixel)
      if (issue !== undefined) return issue
      if (channels < 4 && pixel[3] !== 255)
        return `has transparent pixels, and the model takes ${channels === 1 ? 'grey' : 'colours'}: save it without transparency`
      const to = at + (row * width + column) * step
      for (let channel = 0; channel < channels; channel++) into[to + channel * plane] = pixel[channel]!
    }
  return undefined
}

type PixelReader = (rows: Buffer, start: number, column: number, pixel: number[]) => string | undefined

function pixelReader({ kind, depth, palette, transparency }: Png): PixelReader {
  const mask = (1 << depth) - 1
  const sampleAt = (rows: Buffer, start: number, place: number): number => {
    if (depth === 8) return rows[start + place]!
    const bit = place * depth
    return (rows[start + (bit >> 3)]! >> (8 - depth - (bit & 7))) & mask
  }
  // The one colour that is transparent, as a sample of 16 bits each.
  const clear =
    transparency && kind !== 'palette'
      ? [...new Uint16Array(transparency.length >> 1)].map((_, at) => transparency.readUInt16BE(2 * at))
      : []
  const alphaOf = (isClear: boolean): number => (isClear ? 0 : 255)
  switch (kind) {
    case 'grey':
      return (rows, start, column, pixel) => {
        const sample = sampleAt(rows, start, column)
        // 255 is a multiple of the most that 1, 2 and 4 bits hold.
        pixel[0] = pixel[1] = pixel[2] = (sample * 255) / mask
        pixel[3] = alphaOf(sample === clear[0])
        return undefined
      }
    case 'palette':
      return (rows, start, column, pixel) => {
        const entry = sampleAt(rows, start, column)
        if (3 * entry + 2 >= palette.length) return damaged('a pixel is outside of its palette')
        for (let channel = 0; channel < 3; channel++) pixel[channel] = palette[3 * entry + channel]!
        pixel[3] = transparency?.[entry] ?? 255
        return undefined
      }
    case 'grey and alpha':
      return (rows, start, column, pixel) => {
        pixel[0] = pixel[1] = pixel[2] = rows[start + 2 * column]!
        pixel[3] = rows[start + 2 * column + 1]!
        return undefined
      }
    case 'colours':
      return (rows, start, column, pixel) => {
        for (let channel = 0; channel < 3; channel++) pixel[channel] = rows[start + 3 * column + channel]!
        pixel[3] = alphaOf(clear.length === 3 && clear.every((sample, channel) => pixel[channel] === sample))
        return undefined
      }
    case 'colours and alpha':
      return (rows, start, column, pixel) => {
        for (let channel = 0; channel < 4; channel++) pixel[channel] = rows[start + 4 * column + channel]!
        return undefined
      }
  }
}
