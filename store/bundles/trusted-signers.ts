/**
 * Reads the public keys of the installations whose bundles are trusted: `bundles/<name>.pem` in the folder of trusted keys. Messages and
 * imported versions show this name.
 */
import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DomainError } from '../../domain/errors.ts'
import { absentFile } from '../absent-file.ts'
import type { KeyPlaces } from '../signing/key-files.ts'

export interface TrustedSigner {
  name: string
  fingerprint: string
  key: KeyObject
}

export const signersFolder = ({ trust }: Pick<KeyPlaces, 'trust'>): string => join(trust, 'bundles')

/** In the format of `ssh-keygen`: `SHA256:` and base64. */
export const fingerprintOf = (key: KeyObject): string =>
  `SHA256:${createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('base64')
    .replace(/=+$/, '')}`

/** Throws `configuration_invalid` for a file without an Ed25519 public key. */
export async function listTrustedSigners(folder: string): Promise<TrustedSigner[]> {
  const files = (await readdir(folder).catch(absentFile)) ?? []
  const named = files.filter((file) => file.endsWith('.pem')).sort()
  return Promise.all(
    named.map(async (file) => {
      const key = parsePublicKey(await readFile(join(folder, file), 'utf8'))
      if (key === undefined)
        throw new DomainError(
          'configuration_invalid',
          `${join(folder, file)} holds no Ed25519 public key in PEM`,
        )
      return { name: file.slice(0, -'.pem'.length), fingerprint: fingerprintOf(key), key }
    }),
  )
}

/** Undefined for a text that is not an Ed25519 public key. A private key is rejected, because it does not belong in that folder. */
export function parsePublicKey(pem: string): KeyObject | undefined {
  try {
    if (pem.includes('PRIVATE KEY')) return undefined
    const key = createPublicKey(pem)
    return key.asymmetricKeyType === 'ed25519' ? key : undefined
  } catch {
    return undefined
  }
}
