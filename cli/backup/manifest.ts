/** Defines the manifest of a backup. It is signed, and holds the hash of every other entry. */
import type { DumpFacts } from '../../store/maintenance/dump.ts'
import type { ArchiveEntry } from './write-archive.ts'

export const backupFormat = 'tenure-backup@1'

export interface BackupManifest extends DumpFacts {
  format: typeof backupFormat
  /** By entry name. */
  entries: Record<string, ArchiveEntry>
  /** Missing artifacts, each with the reason. */
  missing: string[]
  /** The public half of the signing key, SPKI in PEM. */
  publicKey: string
}

export const manifestName = 'manifest.json'
export const signatureName = 'manifest.sig'
export const headsName = 'audit/heads.jsonl'
export const tableName = (table: string): string => `database/${table}.copy.gz`
export const fileName = (area: 'artifacts' | 'snapshots', digest: string): string =>
  `${area}/${digest.slice('sha256:'.length)}`
