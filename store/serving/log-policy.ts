/**
 * Writes rows as the bytes of the prediction log. All rows that are logged or kept for a failure pass here before they are queued, so that
 * neither Postgres nor the spool gets the value of a feature with `log: 'digest'`.
 */
import { hash } from 'node:crypto'
import { noText } from '@tenure/predictors/features'
import { partsReader } from '../../domain/model/feature-parts.ts'
import { isDigested, type Feature, type FeatureRow } from '../../domain/model/features.ts'
import { digestFlag, type LoggedDigest } from '../../domain/model/logged-rows.ts'
import type { ErrorCode } from '../../domain/errors.ts'
import type { Manifest } from '../../domain/model/manifest.ts'

/** What makes a version's log rows: how each of its texts is logged, in their order. Undefined where the log keeps all values. */
export type LogPolicy = readonly (((text: Buffer) => Buffer) | undefined)[]

export function logPolicyOf({
  features,
  preprocessing,
  profile,
}: Pick<Manifest, 'features' | 'preprocessing' | 'profile'>): LogPolicy | undefined {
  const policy = preprocessing.flatMap(({ name, kind }) =>
    kind === 'number' ? [] : [digesterOf(features?.[name], profile?.tokens?.[name])],
  )
  return policy.some((each) => each !== undefined) ? policy : undefined
}

function digesterOf(feature: Feature | undefined, tokens: readonly string[] | undefined): LogPolicy[number] {
  if (feature === undefined || !isDigested(feature)) return undefined
  const { kind } = feature
  const partsOf = partsReader(kind, tokens)
  return (bytes) => {
    const text = bytes.toString()
    return Buffer.from(JSON.stringify({ sha256: sha256Of(kind, text), ...partsOf(text) }))
  }
}

const sha256Of = (kind: Feature['kind'], text: string): string =>
  hash('sha256', kind === 'image' ? Buffer.from(text, 'base64') : text)

/** The texts of a request as the log keeps them, from the texts as they were sent, row by row. */
export function loggedTexts(texts: Uint8Array, policy: LogPolicy | undefined): Uint8Array {
  if (policy === undefined) return texts
  const sent = Buffer.from(texts.buffer, texts.byteOffset, texts.byteLength)
  const parts: Buffer[] = []
  for (let at = 0, slot = 0; at < sent.byteLength; slot = (slot + 1) % policy.length) {
    const length = sent.readUInt32LE(at)
    const end = at + 4 + (length === noText ? 0 : length)
    const digest = length === noText ? undefined : policy[slot]?.(sent.subarray(at + 4, end))
    if (digest === undefined) parts.push(sent.subarray(at, end))
    else {
      const head = Buffer.alloc(4)
      head.writeUInt32LE((digestFlag | digest.byteLength) >>> 0)
      parts.push(head, digest)
    }
    at = end
  }
  return Buffer.concat(parts)
}

/** Errors whose messages quote nothing of a request. */
const ownCodes: readonly string[] = ['output_invalid', 'deadline_exceeded'] satisfies ErrorCode[]

/** The message of a failed request or batch, as it may be stored: that of a model may quote a value that is not logged. */
export const keptMessage = (
  { code, message }: { code?: string; message: string },
  policy: LogPolicy | undefined,
): string =>
  policy === undefined || (code !== undefined && ownCodes.includes(code))
    ? message
    : 'the message is not kept, because it may quote a feature that is logged as a digest'

/** Whether a text that was sent is the one of which the log has the digest. */
export const isDigestOf = (digest: Uint8Array, { kind }: Feature, text: Uint8Array): boolean =>
  (JSON.parse(decoder.decode(digest)) as LoggedDigest).sha256 === sha256Of(kind, decoder.decode(text))

const decoder = new TextDecoder()

/** Returns a function that writes the bytes of a request of one row. Only the numbers are rounded to 32 bits. */
export function rowLogger(
  manifest: Pick<Manifest, 'features' | 'preprocessing' | 'profile'>,
): (row: FeatureRow) => Uint8Array {
  const policy = logPolicyOf(manifest)
  const fits = manifest.preprocessing
  return (row) => {
    const numbers = fits.filter(({ kind }) => kind === 'number').map(({ name }) => row[name])
    const bytes = Buffer.alloc(numbers.length * 4)
    numbers.forEach((value, slot) => bytes.writeFloatLE(typeof value === 'number' ? value : NaN, slot * 4))
    const texts = fits.flatMap(({ name, kind }) => (kind === 'number' ? [] : textOf(row[name] ?? null)))
    const sent = Buffer.concat(texts)
    return Buffer.concat([bytes, loggedTexts(sent, policy)])
  }
}

function textOf(value: string | number | null): Buffer[] {
  const text = Buffer.from(value === null ? '' : String(value))
  const head = Buffer.alloc(4)
  head.writeUInt32LE(value === null ? noText : text.byteLength)
  return [head, text]
}
