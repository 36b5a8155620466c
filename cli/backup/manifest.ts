/** Defines the manifest of a backup. The manifest is signed and holds the hash of every other entry. */
import type { DumpFacts } from '../../store/maintenance/dump.ts'
import type { Signer } from '../../store/signing/signing-key.ts'
import type { ArchiveEntry, ArchiveWriter } from './write-archive.ts'

export const backupFormat = 'tenure-backup@1'

/** The fields that the manifest of every archive has. */
export interface SignedManifest {
  format: string
  /** Entry name → size and hash. */
  entries: Record<string, ArchiveEntry>
  /** The public half of the signing key: SPKI in PEM. */
  publicKey: string
}

export interface BackupManifest extends SignedManifest, DumpFacts {
  format: typeof backupFormat
  /** Missing artifacts, each with the reason. */
  missing: string[]
}

/** Adds the manifest and then its signature as the last two entries of an archive. */
export async function sealArchive(
  archive: ArchiveWriter,
  manifest: SignedManifest,
  signer: Signer,
): Promise<void> {
  const bytes = Buffer.from(`${JSON.stringify(manifest, null, 1)}\n`)
  await archive.add(manifestName, bytes)
  await archive.add(signatureName, signer.sign(bytes))
}

/** Names a list in texts, also in `missing`. */
export const subjectListText = (digest: string): string => `the list of data subjects ${digest}`

export const manifestName = 'manifest.json'
export const signatureName = 'manifest.sig'
export const headsName = 'audit/heads.jsonl'
export const tableName = (table: string): string => `database/${table}.copy.gz`
export const fileName = (area: 'artifacts' | 'snapshots', digest: string): string =>
  `${area}/${digest.slice('sha256:'.length)}`
