/** Packs and stores model files that were sent with a key: the model file, what it imports, and its training programs. */
import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import sql from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { readTar, writeTar, type TarEntries } from '../bundles/bundle.ts'
import { rowsFrom } from '../database/from-row.ts'
import { writeForeignFile } from '../foreign/foreign-archive.ts'
import type { Database } from '../postgres.ts'

/** Limits of the files of one model. They are code; rows stay with the project of the workers. */
export const modelFilesLimits = { maxFiles: 500, maxBytes: 8_388_608, maxDepth: 16 }

/** The least that a tar adds to its files. */
const tarBytes = 1_048_576
export const maxArchiveBytes = modelFilesLimits.maxBytes + tarBytes

/**
 * The entry with what the model file defines as data, so that the server need not run the file to check it. No program finds it in its folder: it is
 * no code that a person has seen.
 */
export const printedEntry = '.definition.json'

/** Equal files give equal bytes. */
export const packModelFiles = (files: TarEntries): Buffer =>
  writeTar(new Map([...files].sort(([a], [b]) => (a < b ? -1 : 1))), new Date(0))

/** Throws `invalid_model_file` for an archive that is damaged, too large, or has a name that leads out of its folder. */
export const unpackModelFiles = (archive: Buffer): TarEntries =>
  readTar(archive, {
    limits: modelFilesLimits,
    refuse(why) {
      throw new DomainError('invalid_model_file', `the model files cannot be used: ${why}`, { issues: [why] })
    },
  })

/** Calls `work` with a new folder of the files, which is removed afterwards. Throws as `unpackModelFiles` does. */
export async function withModelFiles<T>(
  archive: Buffer,
  work: (folder: string, files: TarEntries) => Promise<T>,
): Promise<T> {
  const files = unpackModelFiles(archive)
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'tenure-files-')))
  try {
    for (const [name, bytes] of files)
      if (name !== printedEntry) await writeForeignFile(folder, name, Readable.from([bytes]))
    return await work(folder, files)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Why files that were sent are not applied yet, or that they are. */
type FilesState = 'waiting' | 'applied' | 'rejected'

export interface ModelFiles {
  model: string
  digest: string
  archive: Buffer
  definition: ModelDefinition
  codeDigest: string
  files: Readonly<Record<string, string>>
  sentBy: string
  /** ISO 8601. */
  sentAt: string
  state: FilesState
  /** Of files that wait: the approver, until a worker has loaded them. */
  decidedBy?: string
}

export const findModelFiles = (database: Database, { model, digest }: Pick<ModelFiles, 'model' | 'digest'>) =>
  rowsFrom(database).find<ModelFiles>(
    sql`select * from model_files where model = ${model} and digest = ${digest}`,
  )

/** Throws `not_found`. */
export async function getModelFiles(
  database: Database,
  named: Pick<ModelFiles, 'model' | 'digest'>,
): Promise<ModelFiles> {
  const found = await findModelFiles(database, named)
  if (found === undefined)
    throw new DomainError('not_found', `there are no files ${named.digest.slice(0, 80)} of ${named.model}`)
  return found
}

/** The files of a model that need an approval. */
export const findWaitingFiles = (database: Database, model: string) =>
  rowsFrom(database).find<ModelFiles>(
    sql`select * from model_files where model = ${model} and state = 'waiting'`,
  )

/** Stores files in the place of those that wait. */
export async function putModelFiles(
  database: Database,
  { model, digest, archive, definition, codeDigest, files, sentBy, state }: Omit<ModelFiles, 'sentAt'>,
): Promise<void> {
  await database.query(sql`delete from model_files where model = ${model} and state = 'waiting'`)
  await database.query(sql`
    insert into model_files (model, digest, archive, definition, code_digest, files, sent_by, state)
    values (${model}, ${digest}, ${archive}, ${JSON.stringify(definition)}, ${codeDigest}, ${JSON.stringify(files)}, ${sentBy}, ${state})
    on conflict (model, digest) do update set definition = excluded.definition, code_digest = excluded.code_digest,
      files = excluded.files, sent_by = excluded.sent_by, sent_at = now(), state = excluded.state,
      decided_by = null`)
}

/** Notes who has approved files that wait, so that a worker may load them. False when they wait no longer. */
export const markApproved = (
  database: Database,
  { model, digest, by }: Pick<ModelFiles, 'model' | 'digest'> & { by: string },
) =>
  rowsFrom(database).any(sql`
    update model_files set decided_by = ${by}
    where model = ${model} and digest = ${digest} and state = 'waiting' returning digest`)

/** Ends the wait of files. False when they wait no longer. */
export const decideModelFiles = (
  database: Database,
  { model, digest, state, by }: Pick<ModelFiles, 'model' | 'digest' | 'state'> & { by: string },
) =>
  rowsFrom(database).any(sql`
    update model_files set state = ${state}, decided_by = ${by}
    where model = ${model} and digest = ${digest} and state = 'waiting' returning digest`)
