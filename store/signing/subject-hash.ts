/**
 * The hash by which a person is spoken of wherever a name must not stand. It is made with a key that is drawn from the signing
 * key of the installation and never leaves its processes, so that nobody can try all customer numbers against what is kept.
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
