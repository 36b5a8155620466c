/**
 * Opens the place of a backup: a file, a directory, or a prefix of a bucket. A backup for an object store is written to a local file first
 * and uploaded in parts. The object appears when the upload is complete.
 */
import { rmSync } from 'node:fs'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { parseS3Address } from '../../domain/addresses/source-address.ts'
import { openDirectoryStore } from '../../store/objects/directory.ts'
import type { ObjectStore } from '../../store/objects/object-store.ts'
import { openS3Store } from '../../store/objects/s3/s3-store.ts'
import type { S3Access } from '../../store/objects/settings.ts'
import { failure, usageError } from '../client/client.ts'

/**
 * A path, or an object store with an optional object name. Without a name, a new backup is named by its time, and a restore takes the
 * newest backup.
 */
export type BackupPlace = { path: string } | { store: ObjectStore; name?: string }

/** A backup that this machine can read. */
export interface LocalBackup {
  path: string
  /** The address of the backup, for messages. */
  name: string
  /** Removes the local copy, if the backup was downloaded. */
  remove(): Promise<void>
}

/** Throws `usage` for an invalid address, or for a bucket without credentials. */
export async function openBackupPlace(address: string, s3: S3Access | undefined): Promise<BackupPlace> {
  if (!address.includes('://')) return openLocalPlace(address)
  const slash = address.lastIndexOf('/')
  const name = address.endsWith('.tar') ? address.slice(slash + 1) : undefined
  return { store: openBackupStore(name === undefined ? address : address.slice(0, slash), s3), name }
}

/** Opens a directory, or a prefix of a bucket, as an object store. */
export function openBackupStore(address: string, s3: S3Access | undefined): ObjectStore {
  if (!address.includes('://')) return openDirectoryStore(resolve(address))
  const place = parseS3Address(address)
  if (place === undefined)
    throw usageError(
      `${address} is not a place for a backup`,
      'Name a file, a directory, or s3://bucket/prefix.',
    )
  if (s3 === undefined)
    throw usageError(
      `${address} needs credentials, and AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is missing`,
      'Set both, or AWS_ACCESS_KEY_ID_FILE and AWS_SECRET_ACCESS_KEY_FILE.',
    )
  return openS3Store({ ...s3, bucket: place.bucket, prefix: place.key })
}

async function openLocalPlace(address: string): Promise<BackupPlace> {
  const path = resolve(address)
  const found = await stat(path).catch(() => undefined)
  return found?.isDirectory() === true || address.endsWith('/')
    ? { store: openDirectoryStore(path) }
    : { path }
}

/** Returns the name of a backup taken at this time, to the second. Names sort in the order of their times. */
export const backupNameOf = (takenAt: string): string =>
  `tenure-${new Date(takenAt).toISOString().replaceAll(/[-:]|\.\d+/g, '')}.tar`

const namePattern = /^tenure-\d{8}T\d{6}Z\.tar$/

/** Returns the time in the name of a backup. */
export const timeOfName = (name: string): string =>
  name.replace(/^tenure-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z\.tar$/, '$1-$2-$3T$4:$5:$6Z')

/** Returns the names of the backups in a store that are named by their time, oldest first. */
export async function listBackups(store: ObjectStore): Promise<string[]> {
  const names: string[] = []
  for await (const { key } of store.list('tenure-')) if (namePattern.test(key)) names.push(key)
  return names
}

/** Calls `make` to write a file, and moves or uploads the file to its place. Throws `usage` if a backup of that name exists. */
export async function writeBackup<Made extends { file: string; taken_at: string }>(
  place: BackupPlace,
  make: (file: string) => Promise<Made>,
): Promise<Made> {
  if ('path' in place) return make(place.path)
  const { store } = place
  // Fails early when the name is taken. The conditional write below still decides.
  if (place.name !== undefined && (await store.find(place.name)) !== undefined)
    throw exists(store, place.name)
  return withFolder(async (folder) => {
    const path = join(folder, 'backup.tar')
    const made = await make(path)
    const name = place.name ?? backupNameOf(made.taken_at)
    if (!(await store.put(name, { path }, { ifAbsent: true }))) throw exists(store, name)
    return { ...made, file: `${store.address}/${name}` }
  })
}

/** Runs `work` with a temporary directory and removes the directory afterwards. */
export async function withFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const { folder, remove } = await makeFolder()
  try {
    return await work(folder)
  } finally {
    await remove()
  }
}

/** Creates a temporary directory that is also removed when the process exits, because it may hold a copy of the database. */
async function makeFolder(): Promise<{ folder: string; remove: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'tenure-backup-'))
  const atExit = () => rmSync(folder, { recursive: true, force: true })
  process.once('exit', atExit)
  return {
    folder,
    async remove() {
      process.off('exit', atExit)
      await rm(folder, { recursive: true, force: true })
    },
  }
}

const exists = ({ address }: ObjectStore, name: string) =>
  usageError(`${address}/${name} already exists`, 'Name another object, or delete this one.')

/** Downloads a backup if it is in an object store. Throws `usage` if no backup exists there. */
export async function fetchBackup(place: BackupPlace): Promise<LocalBackup> {
  if ('path' in place) return { path: place.path, name: place.path, remove: () => Promise.resolve() }
  const { store } = place
  const name = place.name ?? (await listBackups(store)).at(-1)
  const absent = (what: string) =>
    usageError(
      `there is no ${what} in ${store.address}`,
      'Name a file or an object that `tenure backup` wrote.',
    )
  if (name === undefined) throw absent('backup')
  const { folder, remove } = await makeFolder()
  const path = join(folder, 'backup.tar')
  const found = await store.download(name, path).catch(async (error: unknown) => {
    await remove()
    throw error
  })
  if (found === undefined) await remove()
  if (found === undefined) throw absent(name)
  return { path, name: `${store.address}/${name}`, remove }
}

/** Throws if an older backup carries the name of a newer one. The signature covers the time at which the backup was taken. */
export function requireTimeOfName(name: string, takenAt: string): void {
  const file = basename(name)
  if (namePattern.test(file) && file !== backupNameOf(takenAt))
    throw failure({
      code: 'otherwise',
      detail: `${name} holds the backup of ${takenAt}, which its name does not say`,
      remedy: 'Nothing was changed. Find out who has moved it, and name the backup to restore by its file.',
    })
}
