/**
 * Repeats the stored response of a request that its caller sends again. The id of such a request is derived from the caller's id in the
 * same way on every replica, so that the log shows whether it was served before.
 */
import { hash } from 'node:crypto'
import { DomainError } from '../../../domain/errors.ts'
import type { StoredPrediction } from '../../../store/serving/prediction-replays.ts'
import type { RequestSlot } from './request-slot.ts'
import { responseHead, type LiveArm } from '../routing/route-table.ts'

/** The header with the caller's id of a request. */
export const requestIdHeader = 'idempotency-key'

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/**
 * Returns the sixteen bytes of the id, the last two zero: a UUID of version 8 (RFC 9562, custom format). It includes the API key, so that
 * another caller who knows the UUID can neither read nor overwrite the answer.
 */
export function idOfRequest(
  {
    requestId,
    model,
    keyId = '',
    recordedAtMs,
  }: { requestId: string; model: string; keyId?: string | undefined; recordedAtMs?: number | undefined },
  isDurable: boolean,
): Uint8Array {
  // The id of a record is derived from its position, which no caller writes.
  const isRecord = recordedAtMs !== undefined
  if (!isRecord && !uuid.test(requestId))
    throw new DomainError('invalid_request', `${requestIdHeader} is not a UUID`)
  if (!isDurable)
    throw new DomainError(
      'invalid_request',
      `${requestIdHeader} needs TENURE_PREDICTION_LOG=durable: with best-effort a repetition would be stored twice`,
    )
  const asked = isRecord ? requestId : requestId.toLowerCase()
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

/** Writes the stored outputs into the slot and returns their arm. Throws `invalid_request` when the features differ. */
export function replayAnswer(stored: StoredPrediction, arm: LiveArm, slot: RequestSlot): LiveArm {
  const { input } = slot
  const { loaded } = arm
  const numberBytes = input.rows * loaded.columns.numbers * 4
  const asked = Buffer.concat([
    input.numberBytes.subarray(0, numberBytes),
    input.texts.subarray(0, input.textBytes),
  ])
  if (stored.instances !== input.rows || !asked.equals(stored.features))
    throw new DomainError('invalid_request', `another request had the same ${requestIdHeader}`)
  if (stored.outputs.length !== input.rows * loaded.format.width)
    throw new DomainError(
      'invalid_request',
      `the request was served by ${stored.version}, whose outputs have another shape than the current ones`,
    )
  slot.outputs = Float32Array.from(stored.outputs)
  const { version, generation } = stored
  return {
    ...arm,
    arm: stored.arm,
    generation,
    loaded: { ...loaded, version },
    head: responseHead({ model: loaded.model, version, arm: stored.arm, generation }),
  }
}
