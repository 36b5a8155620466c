/** Verifies a backup: the signature of its manifest, and every entry against the manifest. */
import { createPublicKey, verify } from 'node:crypto'
import {
  backupFormat,
  manifestName,
  signatureName,
  type BackupManifest,
  type SignedManifest,
} from './manifest.ts'
import { damaged, type Archive } from './read-archive.ts'

export async function readManifest<Manifest extends SignedManifest = BackupManifest>(
  archive: Archive,
  file: string,
  format: Manifest['format'] = backupFormat,
): Promise<Manifest> {
  if (!archive.has(manifestName)) throw damaged(file, `entry ${manifestName} is missing`)
  const bytes = await archive.bytes(manifestName)
  let manifest: Manifest
  try {
    manifest = JSON.parse(bytes.toString('utf8')) as Manifest
  } catch {
    throw damaged(file, `${manifestName} is invalid JSON`)
  }
  if (manifest.format !== format)
    throw damaged(file, `format ${JSON.stringify(manifest.format)}, expected ${format}`)
  const signature = await archive.bytes(signatureName)
  const isSigned = isSignedBy(manifest.publicKey, bytes, signature)
  if (!isSigned) throw damaged(file, `the signature of ${manifestName} is invalid`)
  return manifest
}

function isSignedBy(pem: unknown, bytes: Buffer, signature: Buffer): boolean {
  try {
    return verify(null, bytes, createPublicKey(String(pem)), signature)
  } catch {
    return false
  }
}

/** Verifies every entry and reports all problems at once. */
export async function requireIntact(
  archive: Archive,
  { entries }: SignedManifest,
  { file, onProgress }: { file: string; onProgress?: ((what: string) => void) | undefined },
): Promise<void> {
  const issues: string[] = []
  for (const [name, wanted] of Object.entries(entries)) {
    onProgress?.(`verifying ${name}`)
    if (!archive.has(name)) issues.push(`${name} is missing`)
    else {
      const found = await archive.measure(name)
      if (found.bytes !== wanted.bytes || found.sha256 !== wanted.sha256) issues.push(`${name} has changed`)
    }
  }
  if (issues.length > 0)
    throw damaged(file, `${issues.slice(0, 5).join('; ')}${issues.length > 5 ? '; and more' : ''}`)
}
