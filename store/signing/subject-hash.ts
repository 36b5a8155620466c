/**
 * Hashes a data subject with a secret of the installation. The secret never leaves the processes, so a hash cannot be found by trying all
 * customer numbers. The secret is not rotated, because the hashes of erased subjects depend on it.
 */
import { createHash, randomBytes } from 'node:crypto'
import { DomainError } from '../../domain/errors.ts'
import { readKeyFile, writeOnce } from './key-files.ts'

export interface SubjectKey {
  /** The secret that is prefixed to the hashed text. */
  key: string
  /** Distinguishes one secret from another without revealing it. */
  digest: string
  hashOf(subject: string): string
}

const sha256 = (text: string | Uint8Array): string => createHash('sha256').update(text).digest('hex')

const subjectKeyOf = (key: string): SubjectKey => ({
  key,
  digest: sha256(`digest of ${key}`).slice(0, 16),
  hashOf: (subject) => sha256(key + subject),
})

/** Opens the secret in this file, or creates one; concurrent processes all get the same. Throws `configuration_invalid`. */
export async function openSubjectKey(file: string): Promise<SubjectKey> {
  if (readKeyFile(file) === undefined) await writeOnce(file, `${randomBytes(32).toString('hex')}\n`)
  const secret = readKeyFile(file)?.trim() ?? ''
  if (/^[0-9a-f]{64}$/.test(secret)) return subjectKeyOf(secret)
  throw new DomainError('configuration_invalid', `${file} holds no secret of 64 hexadecimal digits`)
}
