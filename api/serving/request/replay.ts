/**
 * A request that its caller may send again because the answer was lost. Its id is made of the caller's name for it, on every
 * replica the same, so that the log can tell whether it was answered before; then the caller is told what was said then.
 */
import { createHash } from 'node:crypto'
import { DomainError } from '../../../domain/errors.ts'
import type { StoredPrediction } from '../../../store/serving/prediction-replays.ts'
import type { RequestSlot } from './request-slot.ts'
import type { LiveArm } from '../routing/route-table.ts'

/** The header in which callers name their requests. */
export const requestIdHeader = 'idempotency-key'

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** The sixteen bytes of its id, the last two zero: a UUID of version 8, which RFC 9562 leaves to whoever makes it. */
export function idOfRequest(requestId: string, model: string, isDurable: boolean): Uint8Array {
  if (!uuid.test(requestId)) throw new DomainError('invalid_request', `${requestIdHeader} is no UUID`)
  if (!isDurable)
    throw new DomainError(
      'invalid_request',
      `${requestIdHeader} is kept only where TENURE_PREDICTION_LOG is durable: here a repetition would be stored twice`,
    )
  const bytes = createHash('sha256').update(`${model}\n${requestId.toLowerCase()}`).digest().subarray(0, 16)
  bytes[6] = 0x80 | (bytes[6]! & 0x0f)
  bytes[8] = 0x80 | (bytes[8]! & 0x3f)
  bytes[14] = bytes[15] = 0
  return bytes
}

/** Puts what was answered before onto the desk, with the arm that said it. Throws `invalid_request` when it was asked otherwise. */
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
      `the request was answered by ${stored.version}, whose answers have another shape than those of now`,
    )
  slot.outputs = Float32Array.from(stored.outputs)
  const { version, generation } = stored
  return {
    ...arm,
    arm: stored.arm,
    generation,
    loaded: { ...loaded, version },
    head: Buffer.from(
      `{"model":${JSON.stringify(loaded.model)},"version":${JSON.stringify(version)},` +
        `"arm":"${stored.arm}","generation":${generation},"predictions":[`,
    ),
  }
}
