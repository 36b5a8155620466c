/**
 * Reads numbers and categories from a text, in which texts drift: its length, its script, and its share of tokens that are rare in training.
 * The reference profile has one profile for each part, named `review.length`; a feature has no point in its name.
 */
import { cellOf, type CellColumn } from './columns.ts'
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

/** The profiles of a text, and the tokens known in training. */
export function textProfiles(
  name: string,
  column: CellColumn,
): { profiles: Profile[]; tokens: readonly string[] } {
  const rows = column.kind === 'text' ? column.codes.length : column.values.length
  const texts = Array.from({ length: rows }, (_, row) => {
    const cell = cellOf(column, row)
    return cell === null ? null : String(cell)
  })
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
    default:
      return (value) => value
  }
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
