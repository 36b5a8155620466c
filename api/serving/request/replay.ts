/**
 * Repeats the stored response of a request that its caller sends again. The id of such a request is derived from the caller's id in the
 * same way on every replica, so that the log shows whether it was served before.
 */
import { hash } from 'node:crypto'
import { DomainError } from '../../../domain/errors.ts'
import { idempotencyHeader } from '../../../domain/request-headers.ts'
import { fallbackName } from '../../../domain/serving/kill-switch.ts'
import type { Feature } from '../../../domain/model/features.ts'
import { loggedTextAt, type LoggedText } from '../../../domain/model/logged-rows.ts'
import { isDigestOf } from '../../../store/serving/log-policy.ts'
import type { StoredPrediction } from '../../../store/serving/prediction-replays.ts'
import type { InputBuffer } from '../codec/input-buffer.ts'
import type { RequestSlot } from './request-slot.ts'
import { responseHead, type LiveArm } from '../routing/route-table.ts'
import type { LoadedVersion } from '../version/loaded-version.ts'

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/**
 * Returns the sixteen bytes of the id, the last two zero: a UUID of version 8 (RFC 9562, custom format). It includes the API key, so that
 * another caller who knows the UUID can neither read nor overwrite the answer.
 */
export function idOfRequest(
  {
    idempotencyKey,
    model,
    keyId = '',
    recordedAtMs,
  }: { idempotencyKey: string; model: string; keyId?: string | undefined; recordedAtMs?: number | undefined },
  isDurable: boolean,
): Uint8Array {
  // The id of a record is derived from its position, which no caller writes.
  const isRecord = recordedAtMs !== undefined
  if (!isRecord && !uuid.test(idempotencyKey))
    throw new DomainError('invalid_request', `${idempotencyHeader} is not a UUID`)
  if (!isDurable)
    throw new DomainError(
      'invalid_request',
      `${idempotencyHeader} needs TENURE_PREDICTION_LOG=durable: with best-effort a repetition would be stored twice`,
    )
  const asked = isRecord ? idempotencyKey : idempotencyKey.toLowerCase()
  // A text with one character per byte, which Node creates in a third of the time of a buffer.
  const digest = hash('sha256', `${model}\n${keyId}\n${asked}`, 'binary')
  const bytes = new Uint8Array(16)
  for (let i = 0; i < 14; i++) bytes[i] = digest.charCodeAt(i)
  // The time comes first, so that records that were written together are neighbours in the index of the log; random positions take Postgres
  // longer. The 32 bits start again at zero every 50 days.
  if (isRecord) new DataView(bytes.buffer).setUint32(0, recordedAtMs)
  bytes[6] = 0x80 | (bytes[6]! & 0x0f)
  bytes[8] = 0x80 | (bytes[8]! & 0x3f)
  return bytes
}

/** Writes the stored outputs into the slot and returns their arm. Throws `invalid_request` when the caller has sent other rows. */
export function replayAnswer(stored: StoredPrediction, arm: LiveArm, slot: RequestSlot): LiveArm {
  const { input } = slot
  const { loaded } = arm
  if (stored.instances !== input.rows || isOther(stored, loaded, input))
    throw new DomainError('invalid_request', `another request had the same ${idempotencyHeader}`)
  if (stored.outputs.length !== input.rows * loaded.format.width)
    throw new DomainError(
      'invalid_request',
      `the request was served by ${stored.version}, whose outputs have another shape than the current ones`,
    )
  slot.outputs = Float32Array.from(stored.outputs)
  const { version, generation } = stored
  const fallback = version === fallbackName(loaded.model)
  return {
    ...arm,
    arm: stored.arm,
    generation,
    fallback,
    loaded: { ...loaded, version },
    head: responseHead({ model: loaded.model, version, arm: stored.arm, generation }, fallback),
  }
}

/**
 * Whether the rows differ from the stored ones. Values that are looked up may have changed since, so they are not compared; nor are rows of
 * another layout, which a release in between has left behind.
 */
function isOther(
  { features, layout }: StoredPrediction,
  { columns, manifest }: LoadedVersion,
  input: InputBuffer,
): boolean {
  const { all, numbers } = columns
  const isSame = ({ name, kind }: { name: string; kind: string }, place: number): boolean =>
    name === all[place]?.name && kind === all[place].kind
  if (layout === null || layout.length !== all.length || !layout.every(isSame)) return false
  const compared = layout.map((column) => ({
    ...column,
    feature: manifest.features[column.name]!,
    isSent: !column.looked_up && isSentFeature(manifest.features[column.name]!),
  }))
  const sent = Buffer.concat([
    input.numberBytes.subarray(0, input.rows * numbers * 4),
    input.texts.subarray(0, input.textBytes),
  ])
  let [at, storedAt] = [0, 0]
  for (const kind of ['number', 'category'] as const)
    for (let instance = 0; instance < input.rows; instance++)
      for (const column of compared) {
        if (column.kind !== kind) continue
        let isEqual: boolean
        if (kind === 'number') {
          isEqual = sent.subarray(at, at + 4).equals(features.subarray(storedAt, storedAt + 4))
          at += 4
          storedAt += 4
        } else {
          const text = loggedTextAt(sent, at)
          const stored = loggedTextAt(features, storedAt)
          if (text === undefined || stored === undefined) return true
          isEqual = isSameText(text.bytes, stored, column.feature)
          at = text.end
          storedAt = stored.end
        }
        if (column.isSent && !isEqual) return true
      }
  return false
}

const isSentFeature = ({ from, sql }: Feature): boolean => from === undefined && sql === undefined

/** Whether a text was sent that is the stored one, or the one of which the log has the digest. */
function isSameText(text: Uint8Array | null, stored: LoggedText, feature: Feature): boolean {
  if (text === null || stored.bytes === null) return text === stored.bytes
  return stored.isDigest ? isDigestOf(stored.bytes, feature, text) : Buffer.compare(text, stored.bytes) === 0
}
