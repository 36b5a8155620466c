/**
 * Restores a backup. The bytes, the signature and the audit log are verified first; then the database is replaced in one
 * transaction that also raises the routing epoch.
 */
import { Readable } from 'node:stream'
import { createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { verifyAudit } from '../../store/audit/audit-log.ts'
import { openRowVerifier, rowSigner, type IsSigned } from '../../store/audit/row-signatures.ts'
import { headFiles, readHeads } from '../../store/audit/signed-heads.ts'
import { archiveHeads, type ArchivedHeads } from '../../store/maintenance/archive-audit-heads.ts'
import { loadDump } from '../../store/maintenance/load.ts'
import { openStore, type Database } from '../../store/postgres.ts'
import { findGivenNumbers, type GivenNumbers } from '../../store/registry/versions.ts'
import {
  openCommonSigner,
  openPublicKeys,
  openSigner,
  trustIn,
  type Verifier,
} from '../../store/signing/signing-key.ts'
import { resignArtifacts } from '../../store/signing/artifact-signatures.ts'
import { failure } from '../client/client.ts'
import { requireTimeOfName, type LocalBackup } from './backup-place.ts'
import { requireIntact, readManifest } from './verify.ts'
import { headsName, tableName, type BackupManifest } from './manifest.ts'
import { damaged, openArchive, type Archive } from './read-archive.ts'
import type { Installation } from './installation.ts'
import { completeRestore, undoUnlessCommitted, type RestoredState } from './after-restore.ts'
import { markFolder } from '../../store/artifact-marker.ts'
import type { Artifacts } from '../../store/artifacts.ts'
import { openSharedArtifacts } from '../../store/objects/artifact-copies.ts'
import type { Config } from '../../temporal.config.ts'

export interface RestoreOptions {
  backup: Pick<LocalBackup, 'path' | 'name'>
  replace: boolean
  /** Whether to sign the versions of another installation with the key of this one. */
  reSign: boolean
  actor: string
  onProgress?: (what: string) => void
}

export interface RestoreResult extends RestoredState {
  file: string
  taken_at: string
  rows: number
  artifacts: number
  /** Archived audit heads that are newer than the backup. */
  set_aside: string[]
  missing: string[]
}

export async function restoreBackup(place: Installation, options: RestoreOptions): Promise<RestoreResult> {
  const { backup, onProgress } = options
  const file = backup.name
  const { config } = place
  const archive = await openArchive(backup)
  const manifest = await readManifest(archive, file)
  await requireIntact(archive, manifest, { file, onProgress })
  requireTimeOfName(file, manifest.takenAt)
  const openKey = options.reSign ? openSigner : openCommonSigner
  const signer = await openKey(config.signing, 'artifacts')
  const headKeys = openPublicKeys(config.signing, 'heads')
  const isSigned = openRowVerifier(config.signing)
  const trust = trustIn(config.signing, 'artifacts', manifest.publicKey)
  const isOurs = trust !== undefined
  if (trust !== 'in use' && !options.reSign) throw untrusted(trust, config.signing.trust)
  const artifacts = await restoreArtifacts(archive, manifest, { config, onProgress })
  const files = headFiles(config)
  const seed = isOurs && archive.has(headsName) ? (await archive.bytes(headsName)).toString('utf8') : ''
  const given = await findReplaced(place.databaseUrl)
  let aside: ArchivedHeads | undefined
  let settled: RestoredState | undefined
  try {
    await loadDump(place.databaseUrl, {
      facts: manifest,
      replace: options.replace,
      rowsOf: (table) => archive.unpack(tableName(table)),
      onTable: (table) => onProgress?.(`table ${table}`),
      async finish(database) {
        onProgress?.('verifying the audit log')
        await requireAudit(database, manifest, {
          file,
          files,
          headKeys,
          isSigned: isOurs ? isSigned : undefined,
        })
        // The signing key may have been rotated since the backup.
        if (manifest.publicKey !== signer.publicPem)
          await resignArtifacts(
            database,
            signer,
            isOurs
              ? { keys: openPublicKeys(config.signing, 'artifacts'), signedMs: Date.parse(manifest.takenAt) }
              : undefined,
          )
        settled = await completeRestore(
          { ...database, signAudit: rowSigner(signer) },
          {
            actor: options.actor,
            action: 'database.restored',
            given,
            why: `the database was restored from a backup of ${manifest.takenAt}`,
            detail: { takenAt: manifest.takenAt, from: manifest.auditHead ?? null, reSigned: !isOurs },
          },
        )
        await aside?.undo()
        aside = await archiveHeads(files, {
          lastSeq: manifest.auditHead?.seq ?? 0,
          seed,
          stamp: `epoch-${settled.epoch}`,
        })
      },
    })
  } catch (error) {
    const store = openStore(place.databaseUrl, { name: 'tenure restore', max: 1 })
    try {
      if (!(await undoUnlessCommitted(store, { settled, aside }))) throw error
    } finally {
      await store.close()
    }
  }
  return {
    file,
    taken_at: manifest.takenAt,
    ...settled!,
    rows: Object.values(manifest.entries).reduce((sum, { rows = 0 }) => sum + rows, 0),
    artifacts,
    set_aside: aside?.files ?? [],
    missing: manifest.missing,
  }
}

export const untrusted = (trust: 'retired' | undefined, list: string): Error =>
  failure({
    code: 'refused',
    detail:
      trust === 'retired'
        ? 'this backup is signed with a key that was rotated since, and whose overlap has ended'
        : `this backup is signed with another key than those of ${list}`,
    remedy:
      trust === 'retired'
        ? 'Add --re-sign to sign them with the key in use, unless the former key was stolen before the backup was taken.'
        : 'Provide the key of that installation (TENURE_KEYS, TENURE_TRUST), or add --re-sign to sign its versions with the key of this one.',
  })

/** Returns the version numbers given in the database to replace; undefined if it has no tables of Tenure. */
async function findReplaced(databaseUrl: string): Promise<GivenNumbers | undefined> {
  const store = openStore(databaseUrl, { name: 'tenure restore', max: 1 })
  try {
    return await findGivenNumbers(store)
  } catch (error) {
    // Class 42: tables that are missing or of another application. The load reports what it cannot replace.
    if (String((error as { code?: unknown }).code).startsWith('42')) return undefined
    throw error
  } finally {
    await store.close()
  }
}

/** Verifies the restored audit log within the transaction, so that a rewritten one never replaces the original. */
async function requireAudit(
  database: Database,
  { auditHead }: BackupManifest,
  {
    file,
    files,
    headKeys,
    isSigned,
  }: { file: string; files: readonly string[]; headKeys: Verifier; isSigned: IsSigned | undefined },
): Promise<void> {
  const { heads } = await readHeads(files, headKeys).read()
  const known = heads.filter(({ seq }) => seq <= (auditHead?.seq ?? 0))
  const { breach, head } = await verifyAudit(database, {
    heads: known,
    isSigned,
  })
  if (breach !== undefined)
    throw failure({
      code: 'otherwise',
      detail: `the audit log in ${file} does not belong to this installation: ${breach}`,
      remedy: `Nothing was changed. Restore a backup of another installation under its own TENURE_STATE and TENURE_ARTIFACTS; the audit heads here are ${files.join(' and ')}.`,
    })
  if (head?.seq !== auditHead?.seq || head?.hash !== auditHead?.hash)
    throw damaged(file, `its audit log ends with entry ${head?.seq ?? 0}, not ${auditHead?.seq ?? 0}`)
}

// Copies the artifacts of a backup to the artifact store and verifies each by its digest.

/** Returns the number of copied artifacts. */
async function restoreArtifacts(
  archive: Archive,
  { entries }: BackupManifest,
  { config, onProgress }: { config: Config; onProgress: ((what: string) => void) | undefined },
): Promise<number> {
  const artifacts = openSharedArtifacts(config)
  await markFolder(config.artifactRoot)
  const names = Object.keys(entries).filter((name) => /^(artifacts|snapshots)\/[0-9a-f]{64}$/.test(name))
  for (const [index, name] of names.entries()) {
    onProgress?.(`artifact ${index + 1} of ${names.length}`)
    const [area, hex] = name.split('/') as ['artifacts' | 'snapshots', string]
    await restoreArtifact(archive, artifacts, { name, area, digest: `sha256:${hex}` })
  }
  return names.length
}

async function restoreArtifact(
  archive: Archive,
  artifacts: Artifacts,
  { name, area, digest }: { name: string; area: 'artifacts' | 'snapshots'; digest: string },
): Promise<void> {
  const there = await artifacts.locate(area, digest).catch(() => undefined)
  if (there !== undefined) return artifacts.share(area, digest)
  const draft = await artifacts.draft(area === 'snapshots' ? '.parquet' : '')
  await pipeline(Readable.from(archive.read(name)), createWriteStream(draft, { mode: 0o600 }))
  const taken = await artifacts.take(area, draft)
  if (taken.digest !== digest) throw new Error(`${name} has the digest ${taken.digest}`)
}
