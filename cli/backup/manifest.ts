/** What a backup says of itself. The signature is over the bytes of this, and this names every other byte by its hash. */
import type { DumpFacts } from '../../store/maintenance/dump.ts'

export const backupFormat = 'tenure-backup@1'

export interface BackupManifest extends DumpFacts {
  format: typeof backupFormat
  /** Name in the file → what stands there. */
  entries: Record<string, { bytes: number; sha256: string; rows?: number }>
  /** Artifacts that rows name and that were not there, each with the reason. */
  missing: string[]
  /** Of the key that has signed this, the versions and the audit: SPKI in PEM. */
  publicKey: string
}

export const manifestName = 'manifest.json'
export const signatureName = 'manifest.sig'
export const headsName = 'audit/heads.jsonl'
export const tableName = (table: string): string => `database/${table}.copy.gz`
export const fileName = (area: 'artifacts' | 'snapshots', digest: string): string =>
  `${area}/${digest.slice('sha256:'.length)}`
