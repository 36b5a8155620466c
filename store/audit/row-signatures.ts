/**
 * Signs audit rows when they are written. The hash chain shows that no row has changed; a signature also shows that a process of this
 * installation wrote the row, and not someone with the database password.
 */
import { keyPurposes, type KeyPlaces } from '../signing/key-files.ts'
import { openPublicKeys, type Signer, type Verifier } from '../signing/signing-key.ts'

export type SignRow = (hash: string) => Uint8Array

export const rowSigner =
  (signer: Signer): SignRow =>
  (hash) =>
    signer.sign(bytesOf(hash))

export type IsSigned = (row: { hash: string; signature?: string; at?: string }) => boolean

/** A process may use a retired key for a moment, and clocks differ. */
const toleranceMs = 60_000

/** Whether one of the keys signed the row. A retired key counts for rows from its time. */
export const rowVerifier =
  (...keys: Verifier[]): IsSigned =>
  ({ hash, signature, at }) => {
    if (signature === undefined) return false
    const signedMs = at === undefined ? undefined : Date.parse(at) - toleranceMs
    return keys.some((key) => key.verify(bytesOf(hash), Buffer.from(signature, 'hex'), signedMs))
  }

/** Every process signs rows with its own key, so a key of any purpose counts. */
export const openRowVerifier = (places: KeyPlaces): IsSigned =>
  rowVerifier(...keyPurposes.map((purpose) => openPublicKeys(places, purpose)))

const bytesOf = (hash: string): Buffer => Buffer.from(`tenure-audit-row@1\n${hash}`)
