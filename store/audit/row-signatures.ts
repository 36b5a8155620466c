/**
 * Signs audit rows where they are written. The hash chain shows that no row has changed; only a signature shows that a process of this
 * installation has written it, and not a holder of the database's password.
 */
import type { Signer } from '../signing/signing-key.ts'

/** The signature of a row with this hash. */
export type SignRow = (hash: string) => Uint8Array

export const rowSigner =
  (signer: Signer): SignRow =>
  (hash) =>
    signer.sign(bytesOf(hash))

export type IsSigned = (row: { hash: string; signature?: string }) => boolean

/** Whether a key of this installation has signed the row. */
export const rowVerifier =
  (signer: Signer): IsSigned =>
  ({ hash, signature }) =>
    signature !== undefined && signer.verify(bytesOf(hash), Buffer.from(signature, 'hex'))

const bytesOf = (hash: string): Buffer => Buffer.from(`tenure-audit-row@1\n${hash}`)
