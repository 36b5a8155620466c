/** Whether a backup is what was written: its manifest the one that was signed, each byte the one that the manifest names. */
import { createPublicKey, verify } from 'node:crypto'
import { backupFormat, manifestName, signatureName, type BackupManifest } from './manifest.ts'
import { damaged, type Archive } from './read-archive.ts'

export async function readManifest(archive: Archive, file: string): Promise<BackupManifest> {
  if (!archive.has(manifestName)) throw damaged(file, `it has no ${manifestName}`)
  const bytes = await archive.bytes(manifestName)
  let manifest: BackupManifest
  try {
    manifest = JSON.parse(bytes.toString('utf8')) as BackupManifest
  } catch {
    throw damaged(file, `its ${manifestName} does not parse`)
  }
  if (manifest.format !== backupFormat)
    throw damaged(file, `its format is ${JSON.stringify(manifest.format)}, not ${backupFormat}`)
  const signature = await archive.bytes(signatureName)
  const isSigned = isSignedBy(manifest.publicKey, bytes, signature)
  if (!isSigned) throw damaged(file, `its ${manifestName} is not the one that was signed`)
  return manifest
}

function isSignedBy(pem: unknown, bytes: Buffer, signature: Buffer): boolean {
  try {
    return verify(null, bytes, createPublicKey(String(pem)), signature)
  } catch {
    return false
  }
}

/** Each entry against the manifest; what is wrong is named, all of it at once. */
export async function expectWhole(
  archive: Archive,
  { entries }: BackupManifest,
  { file, onProgress }: { file: string; onProgress?: ((what: string) => void) | undefined },
): Promise<void> {
  const issues: string[] = []
  for (const [name, wanted] of Object.entries(entries)) {
    onProgress?.(`checking ${name}`)
    if (!archive.has(name)) issues.push(`${name} is missing`)
    else {
      const found = await archive.measure(name)
      if (found.bytes !== wanted.bytes || found.sha256 !== wanted.sha256)
        issues.push(`the bytes of ${name} are not those that were backed up`)
    }
  }
  if (issues.length > 0)
    throw damaged(file, `${issues.slice(0, 5).join('; ')}${issues.length > 5 ? '; and more' : ''}`)
}
