/**
 * Compares the payload keys of two processes by marks that do not reveal the keys, so that a wrong key is found before it reaches a
 * payload.
 */
import { createHmac } from 'node:crypto'
import type { PayloadKey } from './settings.ts'

export interface PayloadKeyMark {
  id: string
  /** Equal for equal keys. The mark does not reveal a key of 32 random bytes. */
  mark: string
}

/** Returns the marks in the order of the keys, newest first. */
export const marksOf = (keys: readonly PayloadKey[] = []): PayloadKeyMark[] =>
  keys.map(({ id, secret }) => ({
    id,
    mark: createHmac('sha256', secret).update('tenure payload key').digest('hex').slice(0, 16),
  }))

/** Returns why two processes cannot read each other's payloads; undefined if they can. The first key encrypts, every key decrypts. */
export function payloadKeyIssue(
  own: readonly PayloadKeyMark[],
  other: { process: string; keys: readonly PayloadKeyMark[] },
): string | undefined {
  const missing = issueOfKey(other.keys[0], own)
  if (missing !== undefined)
    return `${other.process} encrypts with the payload key "${other.keys[0]?.id}", and ${missing} in TENURE_PAYLOAD_KEYS of this process`
  const unknown = issueOfKey(own[0], other.keys)
  if (unknown !== undefined)
    return `this process encrypts with the payload key "${own[0]?.id}", and ${unknown} in TENURE_PAYLOAD_KEYS of ${other.process}`
  return undefined
}

/** Every process can read unencrypted payloads. */
function issueOfKey(key: PayloadKeyMark | undefined, ring: readonly PayloadKeyMark[]): string | undefined {
  if (key === undefined) return undefined
  const found = ring.find(({ id }) => id === key.id)
  if (found === undefined) return 'it is missing'
  return found.mark === key.mark ? undefined : 'another key has this id'
}
