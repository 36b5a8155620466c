/** Reads the rows of a request from the bytes of the prediction log; `instance_of` reads them in Postgres, row by row. */
import { type FeatureFit, noText } from '@tenure/predictors/features'
import type { FeatureRow } from './features.ts'

/** What the log has in place of a value. */
export interface LoggedDigest {
  /** SHA-256, in hexadecimal digits: of a text in UTF-8, of a vector as JSON, of the file of an image. */
  sha256: string
  /** The parts of the value in which it drifts, by their names: `length`, `norm`, `format`. */
  [part: string]: number | string | null
}

/** A row as it is logged. A digest is an object, so that no model takes it for a value. */
export type LoggedRow = Record<string, number | string | null | LoggedDigest>

export const isLoggedDigest = (value: unknown): value is LoggedDigest =>
  typeof value === 'object' && value !== null && 'sha256' in value

/** The features that are digests in some of the rows, by name. */
export const digestedIn = (rows: readonly { row: LoggedRow }[]): string[] => {
  const found = rows.flatMap(({ row }) => Object.keys(row).filter((name) => isLoggedDigest(row[name])))
  return [...new Set(found)].sort()
}

/**
 * Returns the rows for a model or a check that takes these features, without digests of others; why they cannot be used, where one of the
 * features is a digest.
 */
export function valuesOfLogged<R extends { row: LoggedRow }>(
  rows: readonly R[],
  features: readonly string[],
): (Omit<R, 'row'> & { row: FeatureRow })[] | { digested: string[] } {
  const digests = digestedIn(rows)
  const digested = digests.filter((name) => features.includes(name))
  if (digested.length > 0) return { digested }
  return rows.map((each) => ({ ...each, row: withoutDigests(each.row, digests) }))
}

const withoutDigests = (row: LoggedRow, digests: readonly string[]): FeatureRow =>
  (digests.length === 0
    ? row
    : Object.fromEntries(Object.entries(row).filter(([name]) => !digests.includes(name)))) as FeatureRow

/** `` `photo` is logged as a digest ``. */
export const digestReason = (names: readonly string[]): string => {
  const listed = names.map((name) => `\`${name}\``).join(', ')
  return names.length === 1 ? `${listed} is logged as a digest` : `${listed} are logged as digests`
}
/** What a check says of rows with digests of these features. */
export const digestText = (names: readonly string[]): string => `not checked: ${digestReason(names)}`

/** Set in the length of a digest, and in no length of a value; `noText` has it too. */
export const digestFlag = 0x8000_0000

export interface LoggedText {
  /** UTF-8; null for null. */
  bytes: Uint8Array | null
  /** Whether the bytes are the JSON of a digest. */
  isDigest: boolean
  end: number
}

/** Reads the text whose length stands at `at`; undefined when the bytes are incomplete. */
export function loggedTextAt(bytes: Uint8Array, at: number): LoggedText | undefined {
  if (at + 4 > bytes.byteLength) return undefined
  const length = (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
  if (length === noText) return { bytes: null, isDigest: false, end: at + 4 }
  const isDigest = length >= digestFlag
  const end = at + 4 + (isDigest ? length - digestFlag : length)
  return end > bytes.byteLength ? undefined : { bytes: bytes.subarray(at + 4, end), isDigest, end }
}

/**
 * The instances of a request in the order of their ids, read from the 32-bit numbers and the texts that follow them. Undefined when the
 * bytes are incomplete, as for a request whose inputs were removed.
 */
export function readLoggedRows(
  features: Uint8Array,
  fits: readonly FeatureFit[],
  instances: number,
): LoggedRow[] | undefined {
  const view = new DataView(features.buffer, features.byteOffset, features.byteLength)
  const numbers = fits.filter(({ kind }) => kind === 'number').length
  let numberAt = 0
  let textAt = instances * numbers * 4
  const rows: LoggedRow[] = []
  for (let instance = 0; instance < instances; instance++) {
    const row: LoggedRow = {}
    for (const { name, kind } of fits) {
      if (kind === 'number') {
        if (numberAt + 4 > view.byteLength) return undefined
        const value = view.getFloat32(numberAt, true)
        row[name] = Number.isFinite(value) ? shortestDouble(value) : null
        numberAt += 4
      } else {
        const found = loggedTextAt(features, textAt)
        if (found === undefined) return undefined
        const text = found.bytes && utf8.decode(found.bytes)
        row[name] = found.isDigest ? (JSON.parse(text!) as LoggedDigest) : text
        textAt = found.end
      }
    }
    rows.push(row)
  }
  return rows
}

const utf8 = new TextDecoder()

/** The double with the fewest digits that rounds to this 32-bit number: 0.1 was sent, but 0.10000000149 is logged. */
function shortestDouble(value: number): number {
  if (Number.isInteger(value) && Math.abs(value) < 2 ** 24) return value
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits))
    if (Math.fround(short) === value) return short
  }
  return Number(value.toPrecision(9))
}
