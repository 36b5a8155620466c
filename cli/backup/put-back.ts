/**
 * Puts a backup back. Everything is checked before anything is touched: each byte against the manifest, the manifest against
 * its signature, the audit against the heads that are kept here. Then the artifacts are put into their store, which harms
 * nobody, and the database is replaced in one transaction that also raises the epoch of all routing.
 */
import { createPublicKey, verify } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { openArtifacts, type Artifacts } from '../../store/artifacts.ts'
import { appendAudit, verifyAudit } from '../../store/audit.ts'
import { headFiles, openHeads } from '../../store/audit-heads.ts'
import { endInterruptedWork, raiseEpoch, renewFlags } from '../../store/epochs.ts'
import { setHeadsAside, type SetAside } from '../../store/heads-aside.ts'
import { loadDump } from '../../store/load.ts'
import type { Database } from '../../store/postgres.ts'
import { openSigner, type Signer } from '../../store/signature.ts'
import { vouchAnew } from '../../store/vouching.ts'
import { failure } from '../client.ts'
import { damaged, openArchive, type Archive } from './archive.ts'
import {
  backupFormat,
  headsName,
  manifestName,
  signatureName,
  tableName,
  type BackupManifest,
} from './contents.ts'
import type { Place } from './place.ts'

export interface PutBackOptions {
  file: string
  replace: boolean
  /** Whether the key of this installation is to vouch for the versions of another one. */
  vouch: boolean
  actor: string
  onProgress?: (what: string) => void
}

export interface PutBack {
  file: string
  taken_at: string
  epoch: number
  routes: { model: string; version: string; generation: number }[]
  rows: number
  artifacts: number
  /** What stood open without anybody who carries it, and was ended: how many of each kind. */
  ended: Record<string, number>
  /** Copies of the lists of heads that went further than the backup. */
  set_aside: string[]
  missing: string[]
}

export async function putBack(place: Place, options: PutBackOptions): Promise<PutBack> {
  const { file, onProgress } = options
  const { config } = place
  const archive = await openArchive(file)
  const manifest = await readManifest(archive, file)
  await expectWhole(archive, manifest, options)
  const signer = await openSigner(config.signingKey)
  const isOurs = signer.publicPem === manifest.publicKey
  if (!isOurs && !options.vouch)
    throw failure({
      code: 'refused',
      detail: `the versions of this backup were signed with another key than ${config.signingKey}`,
      remedy:
        'Put the key of that installation there (or name it in TENURE_SIGNING_KEY), or add --vouch: then the key that is here vouches for all of them.',
    })
  const artifacts = await placeArtifacts(archive, manifest, { root: config.artifactRoot, onProgress })
  const files = headFiles(config)
  const seed = isOurs ? await textOf(archive, headsName) : ''
  let aside: SetAside | undefined
  let settled: Settled | undefined
  try {
    await loadDump(place.databaseUrl, {
      facts: manifest,
      replace: options.replace,
      rowsOf: (table) => unpacked(archive, tableName(table)),
      onTable: (table) => onProgress?.(`table ${table}`),
      async finish(database) {
        onProgress?.('checking the audit')
        await expectAudit(database, manifest, { file, files, signer })
        if (!isOurs) await vouchAnew(database, signer)
        settled = await settle(database, {
          actor: options.actor,
          action: 'database.restored',
          why: `the database was restored from a backup of ${manifest.takenAt}`,
          detail: { takenAt: manifest.takenAt, from: manifest.auditHead ?? null, vouchedAnew: !isOurs },
        })
        await aside?.undo()
        aside = await setHeadsAside(files, {
          lastSeq: manifest.auditHead?.seq ?? 0,
          seed,
          stamp: `epoch-${settled.epoch}`,
        })
      },
    })
  } catch (error) {
    await aside?.undo()
    throw error
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

async function readManifest(archive: Archive, file: string): Promise<BackupManifest> {
  if (!archive.has(manifestName)) throw damaged(file, `it has no ${manifestName}`)
  const bytes = await bytesOf(archive, manifestName)
  let manifest: BackupManifest
  try {
    manifest = JSON.parse(bytes.toString('utf8')) as BackupManifest
  } catch {
    throw damaged(file, `its ${manifestName} does not parse`)
  }
  if (manifest.format !== backupFormat)
    throw damaged(file, `its format is ${JSON.stringify(manifest.format)}, not ${backupFormat}`)
  const isSigned = verify(
    null,
    bytes,
    createPublicKey(manifest.publicKey),
    await bytesOf(archive, signatureName),
  )
  if (!isSigned) throw damaged(file, `its ${manifestName} is not the one that was signed`)
  return manifest
}

/** Each entry against the manifest; what is wrong is named, all of it at once. */
async function expectWhole(
  archive: Archive,
  { entries }: BackupManifest,
  { file, onProgress }: PutBackOptions,
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

async function placeArtifacts(
  archive: Archive,
  { entries }: BackupManifest,
  { root, onProgress }: { root: string; onProgress: PutBackOptions['onProgress'] },
): Promise<number> {
  const artifacts = openArtifacts(root)
  await mkdir(root, { recursive: true })
  const names = Object.keys(entries).filter((name) => /^(artifacts|snapshots)\/[0-9a-f]{64}$/.test(name))
  for (const [index, name] of names.entries()) {
    onProgress?.(`artifact ${index + 1} of ${names.length}`)
    const [area, hex] = name.split('/') as ['artifacts' | 'snapshots', string]
    await place(archive, artifacts, { name, area, digest: `sha256:${hex}` })
  }
  return names.length
}

async function place(
  archive: Archive,
  artifacts: Artifacts,
  { name, area, digest }: { name: string; area: 'artifacts' | 'snapshots'; digest: string },
): Promise<void> {
  const there = await artifacts.locate(area, digest).catch(() => undefined)
  if (there !== undefined) return
  const draft = await artifacts.draft(area === 'snapshots' ? '.parquet' : '')
  await pipeline(Readable.from(archive.read(name)), createWriteStream(draft))
  const taken = await artifacts.take(area, draft)
  if (taken.digest !== digest) throw new Error(`${name} has the digest ${taken.digest}`)
}

/** Within the transaction that puts it back: an audit that was rewritten in the backup is not put in the place of the true one. */
async function expectAudit(
  database: Database,
  { auditHead }: BackupManifest,
  { file, files, signer }: { file: string; files: readonly string[]; signer: Signer },
): Promise<void> {
  const { heads } = await openHeads(files, signer).read()
  const known = heads.filter(({ seq }) => seq <= (auditHead?.seq ?? 0))
  const { breach, head } = await verifyAudit(database, { heads: known })
  if (breach !== undefined)
    throw failure({
      code: 'otherwise',
      detail: `the audit in ${file} is not the one of this installation: ${breach}`,
      remedy: `Nothing was changed. For a backup of another installation use a TENURE_STATE and TENURE_ARTIFACTS of its own; here the heads are kept in ${files.join(' and ')}.`,
    })
  if (head?.seq !== auditHead?.seq || head?.hash !== auditHead?.hash)
    throw damaged(file, `its audit ends with row ${head?.seq ?? 0}, not with row ${auditHead?.seq ?? 0}`)
}

export interface Settled {
  epoch: number
  routes: PutBack['routes']
  ended: Record<string, number>
}

/** What must be done in every database that tells of an earlier time than the one its replicas know. */
export async function settle(
  database: Database,
  entry: { actor: string; action: string; why: string; detail: Record<string, unknown> },
): Promise<Settled> {
  const { actor, action, why, detail } = entry
  const { epoch, routes } = await raiseEpoch(database, why)
  const ended = await endInterruptedWork(database, why)
  await renewFlags(database, epoch)
  const told = routes.map(({ model, generation, arms }) => ({
    model,
    version: arms[0]?.version ?? '',
    generation,
  }))
  await appendAudit(database, {
    actor,
    action,
    subject: 'database',
    detail: { ...detail, epoch, routes: told, ended },
  })
  return { epoch, routes: told, ended }
}

async function* unpacked(archive: Archive, name: string): AsyncGenerator<Buffer> {
  const gunzip = createGunzip()
  const packed = Readable.from(archive.read(name))
  packed.once('error', (error) => gunzip.destroy(error))
  for await (const chunk of packed.pipe(gunzip)) yield chunk as Buffer
}

async function bytesOf(archive: Archive, name: string): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of archive.read(name)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const textOf = async (archive: Archive, name: string): Promise<string> =>
  archive.has(name) ? (await bytesOf(archive, name)).toString('utf8') : ''
