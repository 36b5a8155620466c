/**
 * Reads numbers and categories from texts, vectors and images, in which they drift. The reference profile has one profile for each part,
 * named `review.length`; a feature has no point in its name.
 * - a text: its length, its script, and its share of tokens that are rare in training
 * - a vector: its norm, and its projections on eight fixed directions
 * - an image: its format, its bytes, and its width and height
 */
import { seededRandom, standardNormal } from '@tenure/sequential'
import { readImageHeader } from '../values/media.ts'
import { listCells, type CellColumn } from './columns.ts'
import { categoryProfile, numberProfile, type Profile, type ReferenceProfile } from './reference-profile.ts'

/** A value as it is served or stored. */
type Value = number | string | null | undefined

/** The feature that a profile is about: `review` of `review.length`. */
export const featureOfProfile = (name: string): string => name.split('.', 1)[0]!

/** Only the first characters are read for script and tokens, because serving reads each text. */
const maxRead = 4_000
/** The most tokens that a profile lists. */
const maxTokens = 5_000
/** In how many training texts a token stands at least to be known. */
const minTexts = 2

/** The profiles of the parts of a feature, and for a text the tokens known in training. */
export function partProfiles(
  name: string,
  kind: 'text' | 'vector' | 'image',
  column: CellColumn,
): { profiles: Profile[]; tokens?: readonly string[] } {
  const texts = listCells(column).map((cell) => (cell === null ? null : String(cell)))
  if (kind === 'text') return textProfiles(name, texts)
  const profiles = Object.entries(kind === 'vector' ? vectorParts : imageParts).map(([part, read]) =>
    part === 'format'
      ? categoryProfile(`${name}.${part}`, texts.map(read) as (string | null)[])
      : numberProfile(`${name}.${part}`, texts.map(read) as (number | null)[]),
  )
  return { profiles }
}

function textProfiles(
  name: string,
  texts: readonly (string | null)[],
): { profiles: Profile[]; tokens: readonly string[] } {
  const counts = new Map<string, number>()
  for (const text of texts)
    for (const token of new Set(tokensOf(text ?? ''))) counts.set(token, (counts.get(token) ?? 0) + 1)
  const frequent = [...counts].sort(([, one], [, other]) => other - one)
  // A threshold, and not a number of tokens, so that a row can be judged as if it were not among the training rows.
  const least = Math.max(minTexts, (frequent[maxTokens]?.[1] ?? 0) + 1)
  const tokens = frequent.flatMap(([token, count]) => (count >= least ? [token] : []))
  // Leave-one-out: its own row does not make a token known, as a fresh row does not.
  const known = new Set(frequent.flatMap(([token, count]) => (count > least ? [token] : [])))
  return {
    profiles: [
      numberProfile(`${name}.length`, texts.map(lengthOf)),
      categoryProfile(`${name}.script`, texts.map(scriptOf)),
      numberProfile(
        `${name}.unknown`,
        texts.map((text) => unknownShareOf(text, known)),
      ),
    ],
    tokens,
  }
}

/** Returns a function that reads what a profile counts from the value of its feature. */
export function partReader(
  { tokens }: Pick<ReferenceProfile, 'tokens'>,
  name: string,
): (value: Value) => Value {
  const [feature, part] = name.split('.')
  const ofText =
    (read: (text: string | null) => Value) =>
    (value: Value): Value =>
      read(typeof value === 'string' ? value : null)
  switch (part) {
    case 'length':
      return ofText(lengthOf)
    case 'script':
      return ofText(scriptOf)
    case 'unknown': {
      const known = new Set(tokens?.[feature!] ?? [])
      return ofText((text) => unknownShareOf(text, known))
    }
    default: {
      const read = part === undefined ? undefined : { ...vectorParts, ...imageParts }[part]
      return read === undefined ? (value) => value : ofText(read)
    }
  }
}

type Part = number | string | null
type ReadPart = (text: string | null) => Part

/** Returns a function that reads all parts of a value of the kind. Without the tokens of training, a text has no share of unknown ones. */
export function partsReader(
  kind: 'text' | 'vector' | 'image',
  tokens: readonly string[] | undefined,
): (text: string) => Record<string, Part> {
  const known = tokens && new Set(tokens)
  const parts: Readonly<Record<string, ReadPart>> = {
    text: {
      length: lengthOf,
      script: scriptOf,
      ...(known && { unknown: (text: string | null) => unknownShareOf(text, known) }),
    },
    vector: vectorParts,
    image: imageParts,
  }[kind]
  return (text) => Object.fromEntries(Object.entries(parts).map(([part, read]) => [part, read(text)]))
}

/** Remembers the last result, because the parts of one value are read one after the other. */
function remembering<T>(read: (text: string) => T): (text: string | null) => T | null {
  let last: { text: string; value: T } | undefined
  return (text) => {
    if (text === null) return null
    if (last?.text !== text) last = { text, value: read(text) }
    return last.value
  }
}

const vectorOf = remembering((text) => JSON.parse(text) as number[])
const directions = 8

/** A direction that is uniform on the sphere, the same one for the same number and length. */
const directionOf = (() => {
  const known = new Map<string, Float64Array>()
  return (nth: number, length: number): Float64Array => {
    const key = `${nth} ${length}`
    let direction = known.get(key)
    if (direction === undefined) {
      const random = seededRandom(nth)
      direction = Float64Array.from({ length }, () => standardNormal(random))
      const norm = Math.sqrt(direction.reduce((sum, each) => sum + each * each, 0))
      direction = direction.map((each) => each / norm)
      known.set(key, direction)
    }
    return direction
  }
})()

/**
 * Rounds a number to 17 binary digits (1e-5 of it), by Veltkamp's splitting. Embeddings have the length 1 but for their rounding, which differs
 * between 32 and 64 bits and would drift.
 */
function rounded(value: number): number {
  const scaled = value * (2 ** 36 + 1)
  return scaled - (scaled - value)
}

const projectionOn =
  (nth: number): ReadPart =>
  (text) => {
    const vector = vectorOf(text)
    if (vector === null) return null
    const direction = directionOf(nth, vector.length)
    return rounded(vector.reduce((sum, each, at) => sum + each * direction[at]!, 0))
  }

const vectorParts: Readonly<Record<string, ReadPart>> = {
  norm(text) {
    const vector = vectorOf(text)
    return vector && rounded(Math.sqrt(vector.reduce((sum, each) => sum + each * each, 0)))
  },
  ...Object.fromEntries(
    Array.from({ length: directions }, (_, nth) => [`projection${nth + 1}`, projectionOn(nth + 1)]),
  ),
}

const headerOf = remembering(readImageHeader)
const imageParts: Readonly<Record<string, ReadPart>> = {
  format: (text) => headerOf(text)?.format ?? null,
  bytes: (text) => headerOf(text)?.bytes ?? null,
  width: (text) => headerOf(text)?.width ?? null,
  height: (text) => headerOf(text)?.height ?? null,
}

const lengthOf = (text: string | null): number | null => text?.length ?? null

/** A letter of a script that is written without spaces is a token. */
const token = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}]|[\p{L}\p{N}]+/gu
/** Longer ones, such as addresses, are unknown by nature. */
const maxTokenLength = 40

const tokensOf = (text: string): string[] =>
  text
    .slice(0, maxRead)
    .toLowerCase()
    .match(token)
    ?.filter(({ length }) => length <= maxTokenLength) ?? []

/** The share of tokens that are not known; null for a text without tokens. */
function unknownShareOf(text: string | null, known: ReadonlySet<string>): number | null {
  const tokens = text === null ? [] : tokensOf(text)
  if (tokens.length === 0) return null
  let unknown = 0
  for (const each of tokens) if (!known.has(each)) unknown++
  return unknown / tokens.length
}

const scripts = {
  Latin: /\p{sc=Latin}/gu,
  Greek: /\p{sc=Greek}/gu,
  Cyrillic: /\p{sc=Cyrillic}/gu,
  Hebrew: /\p{sc=Hebrew}/gu,
  Arabic: /\p{sc=Arabic}/gu,
  Devanagari: /\p{sc=Devanagari}/gu,
  Thai: /\p{sc=Thai}/gu,
  Hangul: /\p{sc=Hangul}/gu,
  // Japanese is written in both.
  'Han or Kana': /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}]/gu,
}
/** The share of letters that makes a script that of the text. */
const minScriptShare = 0.8
// eslint-disable-next-line no-control-regex -- ASCII is the usual case, and needs no search for scripts.
const ascii = /^[\0-\x7f]*$/

function scriptOf(text: string | null): string | null {
  if (text === null) return null
  const read = text.slice(0, maxRead)
  if (ascii.test(read)) return /[a-z]/i.test(read) ? 'Latin' : 'none'
  const letters = read.match(/\p{L}/gu)?.length ?? 0
  if (letters === 0) return 'none'
  for (const [name, letter] of Object.entries(scripts))
    if ((read.match(letter)?.length ?? 0) >= minScriptShare * letters) return name
  return 'mixed or other'
}
