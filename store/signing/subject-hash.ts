/**
 * Hashes a data subject with a key derived from the signing key. The key never leaves the processes, so that a hash cannot be guessed by
 * trying all customer numbers.
 */
import { createHash } from 'node:crypto'
import type { Signer } from './signing-key.ts'

export interface SubjectKey {
  /** Stands before the text that is hashed; a secret. */
  key: string
  /** Tells one key from another, and nothing else of it. */
  digest: string
  hashOf(subject: string): string
}

const sha256 = (text: string | Uint8Array): string => createHash('sha256').update(text).digest('hex')

/** Ed25519 gives the same signature to the same bytes, so the key is the same in every process. */
export function subjectKeyOf(signer: Pick<Signer, 'sign'>): SubjectKey {
  const key = sha256(signer.sign(Buffer.from('tenure: the key of erased subjects')))
  return { key, digest: sha256(`digest of ${key}`).slice(0, 16), hashOf: (subject) => sha256(key + subject) }
}
