/** Says which texts are a vector or an image. Both travel and are stored as texts: JSON, and base64. */
import { fitsSingle } from '../model/preprocessing.ts'
import { maxBytesOf, maxLengthOf, type Feature, type VectorFeature } from '../model/features.ts'

/** Why a text is no value of the feature; undefined when it is one. */
export function textIssue(feature: Feature, text: string): string | undefined {
  switch (feature.kind) {
    case 'image':
      return imageIssue(text, maxBytesOf(feature))
    case 'vector':
      return readVector(text, feature.length) === undefined ? vectorIssue(feature) : undefined
    case 'text':
    case 'category':
    case 'number': {
      // Written as UTF-8, it would become another character.
      if (!text.isWellFormed()) return 'has an unpaired surrogate, which is no character'
      const most = maxLengthOf(feature)
      return text.length > most ? `has ${text.length} characters, at most ${most} are accepted` : undefined
    }
  }
}

export const vectorIssue = ({ length }: VectorFeature): string =>
  `is no list of ${length} finite numbers of 32 bits`

/** Returns the vector as JSON, from a list of numbers or its text; undefined for anything else than `length` numbers that 32 bits hold. */
export function readVector(given: unknown, length: number): string | undefined {
  const list = typeof given === 'string' ? parsed(given) : given
  if (!(Array.isArray(list) || list instanceof Float64Array) || list.length !== length) return undefined
  for (const each of list) if (typeof each !== 'number' || !fitsSingle(each)) return undefined
  return JSON.stringify(Array.isArray(list) ? list : [...list])
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const number = String.raw`-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?`
/** The texts of vectors as a pattern of JavaScript. DuckDB writes a list of doubles in the same way, with spaces. */
export const vectorPattern = (length: number): string =>
  `^\\[\\s*${number}(?:\\s*,\\s*${number}){${length - 1}}\\s*\\]$`

/** How the base64 of each format begins: by its signature, which is a whole number of letters or one letter less. */
const signatures = { png: 'iVBORw0KGgo', jpeg: '/9j/', gif: 'R0lGOD', webp: 'UklGR' } as const
export type ImageFormat = keyof typeof signatures
export const imageFormats = Object.keys(signatures) as ImageFormat[]

/** The texts of images, as a pattern of JavaScript and of DuckDB. */
export const imagePattern = `^(?:${Object.values(signatures).join('|')})[A-Za-z0-9+/]*={0,2}$`
const image = new RegExp(imagePattern)

export const base64LengthOf = (bytes: number): number => 4 * Math.ceil(bytes / 3)

/** Why the text is no image of at most this many bytes; undefined when it is one. */
export function imageIssue(text: string, maxBytes: number): string | undefined {
  if (text.length > base64LengthOf(maxBytes))
    return `has ${imageBytes(text)} bytes, at most ${maxBytes} are accepted`
  if (text.length % 4 !== 0 || !image.test(text)) return `is no base64 of ${imageFormats.join(', ')}`
  return undefined
}

/** Whether bytes begin as an image does. */
export const isRawImage = (bytes: Buffer): boolean =>
  image.test(bytes.toString('base64', 0, Math.min(12, bytes.byteLength)))

export interface ImageHeader {
  format: ImageFormat
  bytes: number
  /** In pixels; undefined where the header does not say. */
  width: number | undefined
  height: number | undefined
}

const imageBytes = (text: string): number =>
  (text.length / 4) * 3 - (text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0)

/** A JPEG may hold a preview before its size. */
const maxHeader = 65_536

/** Reads the header of an image; undefined for another text. The pixels are not decoded. */
export function readImageHeader(text: string): ImageHeader | undefined {
  const format = imageFormats.find((each) => text.startsWith(signatures[each]))
  if (format === undefined) return undefined
  const head = Buffer.from(text.slice(0, base64LengthOf(maxHeader)), 'base64')
  const { width, height } = sizeOf[format](head) ?? {}
  return { format, bytes: imageBytes(text), width, height }
}

type Size = { width: number; height: number }

const sizeOf: Readonly<Record<ImageFormat, (head: Buffer) => Size | undefined>> = {
  png: (head) =>
    head.length < 24 ? undefined : { width: head.readUInt32BE(16), height: head.readUInt32BE(20) },
  gif: (head) =>
    head.length < 10 ? undefined : { width: head.readUInt16LE(6), height: head.readUInt16LE(8) },
  jpeg(head) {
    for (let at = 2; at + 9 <= head.length && head[at] === 0xff;) {
      const marker = head[at + 1]!
      // Start of a frame; the four others of the range define tables.
      if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker))
        return { width: head.readUInt16BE(at + 7), height: head.readUInt16BE(at + 5) }
      at += 2 + head.readUInt16BE(at + 2)
    }
    return undefined
  },
  webp(head) {
    if (head.length < 30) return undefined
    switch (head.toString('latin1', 12, 16)) {
      case 'VP8 ':
        return { width: head.readUInt16LE(26) & 0x3fff, height: head.readUInt16LE(28) & 0x3fff }
      case 'VP8L': {
        const bits = head.readUInt32LE(21)
        return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 }
      }
      case 'VP8X':
        return { width: head.readUIntLE(24, 3) + 1, height: head.readUIntLE(27, 3) + 1 }
      default:
        return undefined
    }
  },
}
