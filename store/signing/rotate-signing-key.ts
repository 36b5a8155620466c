/** Replaces a signing key while processes sign and verify with it. Signatures of the previous key stay valid for an overlap. */
import { sign } from 'node:crypto'
import { rename } from 'node:fs/promises'
import { DomainError } from '../../domain/errors.ts'
import {
  changeTrusted,
  keepOwner,
  makeKey,
  nextFile,
  parseKey,
  privateFile,
  publicPemOf,
  readKeyFile,
  trustKey,
  type KeyPlaces,
  type KeyPurpose,
} from './key-files.ts'
import { openPublicKeys, openSigner, type Signer } from './signing-key.ts'

/** Longer than a session, and as long as a signed command may be in transit. */
export const defaultOverlapMs = 24 * 3_600_000
/**
 * A process may sign a head with the previous key for a moment. Heads are verified for the time at which they were signed, so a long
 * overlap is not needed.
 */
export const headGraceMs = 60_000

export interface Rotation {
  publicPem: string
  /** Until when signatures of the previous key are valid. For audit heads: those made until then stay valid for ever. */
  formerUntil: string
}

/**
 * Publishes the next key of this purpose and returns it, so that it can be copied to verifying machines before anything is signed with
 * it. Throws `configuration_invalid` on a machine without the current key, where a rotation would retire no key.
 */
export async function prepareRotation(places: KeyPlaces, purpose: KeyPurpose): Promise<Signer> {
  if (readKeyFile(privateFile(places, purpose)) === undefined)
    throw new DomainError(
      'configuration_invalid',
      `${privateFile(places, purpose)} is missing: rotate the key of ${purpose} on a machine that signs with it`,
    )
  await openSigner(places, purpose)
  const file = nextFile(places, purpose)
  await makeKey(file)
  await keepOwner(file, privateFile(places, purpose))
  const key = parseKey(file, readKeyFile(file) ?? '')
  const publicPem = publicPemOf(key)
  await trustKey(places, purpose, { publicPem })
  return { ...openPublicKeys(places, purpose), publicPem, sign: (bytes) => sign(null, bytes, key) }
}

/**
 * Signs with a new key from now on: the prepared one, or a fresh one. Deletes the previous key, whose signatures stay valid for
 * `overlapMs`. The list is written first, because a signature of the new key may be verified at once.
 */
export async function rotateSigningKey(
  places: KeyPlaces,
  purpose: KeyPurpose,
  { overlapMs, nowMs = Date.now() }: { overlapMs: number; nowMs?: number },
): Promise<Rotation> {
  const { publicPem } = await prepareRotation(places, purpose)
  const former = (await openSigner(places, purpose)).publicPem
  const formerUntil = new Date(nowMs + (purpose === 'heads' ? headGraceMs : overlapMs)).toISOString()
  // Retired keys stay in the list, because rows and heads of the audit log are verified for the time at which they were signed.
  await changeTrusted(places, purpose, (keys) => [
    { publicPem },
    ...keys.filter((each) => each.publicPem !== former && each.publicPem !== publicPem),
    { publicPem: former, until: formerUntil },
  ])
  await rename(nextFile(places, purpose), privateFile(places, purpose))
  return { publicPem, formerUntil }
}
