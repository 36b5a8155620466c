/** Tells the addresses of source files from paths of the project, and says what is wrong with one. */
import { percentDecoded } from './percent-decoded.ts'

/** `s3://bucket/key`; undefined for another text. A bucket has 3 to 63 small letters, digits, dots and hyphens. */
export function parseS3Address(address: string): { bucket: string; key: string } | undefined {
  const [, bucket, key = ''] =
    /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*?))?\/?$/.exec(address) ?? []
  if (bucket === undefined || key.split('/').some((part) => part === '.' || part === '..')) return undefined
  return { bucket, key }
}

/** Whether a file of a source lies elsewhere and is downloaded. */
export const isRemoteFile = (file: string): boolean => /^(?:s3|https?):\/\//.test(file)

/** The name that stands in `files` for the rows of a program. */
export const programAddress = (file: string): string => `program:${file}`

/** The folder in which a pattern begins, and the rest, from the first part with a wildcard on. Without one the rest is the name of the file. */
export function splitPattern(pattern: string): { folder: string; rest: string } {
  const parts = pattern.split('/')
  const wild = parts.findIndex((part, place) => /[*?[{]/.test(part) || place === parts.length - 1)
  return { folder: parts.slice(0, wild).join('/'), rest: parts.slice(wild).join('/') }
}

/** Whether a source names many files: `models/data/*.csv`, `s3://rows/2026-*.parquet`. A web server does not list its files. */
export const isPattern = (file: string): boolean => !/^https?:/.test(file) && file.includes('*')

/** The columns that the folders of a file name, as in `year=2026/month=03/rows.parquet`; null for the value that Hive writes for null. */
export function partitionColumnsOf(place: string): Record<string, string | null> {
  const found = [...place.matchAll(/(?:^|\/)([A-Za-z][A-Za-z0-9_]*)=([^/]*)(?=\/)/g)]
  return Object.fromEntries(
    found.map(([, column = '', value = '']) => [
      column,
      value === '__HIVE_DEFAULT_PARTITION__' ? null : percentDecoded(value),
    ]),
  )
}

/** Why a file of a source cannot be read: neither a path inside the project nor an address; undefined when it can. */
export function issueOfSourceFile(file: unknown): string | undefined {
  if (typeof file !== 'string' || file === '')
    return `a path inside the project is required, not ${shown(file)}`
  if (!isRemoteFile(file))
    return /^\/|^[a-z0-9]+:|(^|\/)\.\.(\/|$)|\\/.test(file)
      ? `a path inside the project, s3://bucket/key or an http(s) address is required, not ${shown(file)}`
      : undefined
  if (file.startsWith('s3:'))
    return parseS3Address(file)?.key
      ? undefined
      : `an address of S3 has a bucket and a key, as in s3://bucket/flights.parquet, not ${shown(file)}`
  if (!URL.canParse(file)) return `${shown(file)} is not an address`
  const { username, password } = new URL(file)
  return username === '' && password === '' ? undefined : 'an address holds no user and no password'
}

const shown = (file: unknown): string => JSON.stringify(file) ?? String(file)
