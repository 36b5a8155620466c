/**
 * Signs audit rows where they are written. The hash chain shows that no row has changed; only a signature shows that a process of this
 * installation has written it, and not a holder of the database's password.
 */
import { keyPurposes, type KeyPlaces } from '../signing/key-files.ts'
import { openPublicKeys, type Signer, type Verifier } from '../signing/signing-key.ts'

/** The signature of a row with this hash. */
export type SignRow = (hash: string) => Uint8Array

export const rowSigner =
  (signer: Signer): SignRow =>
  (hash) =>
    signer.sign(bytesOf(hash))

export type IsSigned = (row: { hash: string; signature?: string; at?: string }) => boolean

/** A process may sign with a retired key for a moment, and clocks differ. */
const toleranceMs = 60_000

/** Whether one of the keys has signed the row. A retired key counts for the rows of its time. */
export const rowVerifier =
  (...keys: Verifier[]): IsSigned =>
  ({ hash, signature, at }) => {
    if (signature === undefined) return false
    const signedMs = at === undefined ? undefined : Date.parse(at) - toleranceMs
    return keys.some((key) => key.verify(bytesOf(hash), Buffer.from(signature, 'hex'), signedMs))
  }

/** Every process signs its rows with the key that it holds, so a key of any purpose counts. */
export const openRowVerifier = (places: KeyPlaces): IsSigned =>
  rowVerifier(...keyPurposes.map((purpose) => openPublicKeys(places, purpose)))

const bytesOf = (hash: string): Buffer => Buffer.from(`tenure-audit-row@1\n${hash}`)
