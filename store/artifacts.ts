/**
 * Stores files under the SHA-256 of their bytes. A name from outside cannot lead to another file, two writers of the same content agree,
 * and bytes that changed on the disk are never loaded.
 */
import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { access, mkdir, open, readFile, rename, rm, stat, utimes, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { canonicalJson } from '../domain/canonical-json.ts'
import { DomainError } from '../domain/errors.ts'
import { digestOfChunks, updateInTurns } from './objects/slices.ts'
import { absentFile } from './absent-file.ts'
import { walkFiles } from './files-below.ts'
import { requireReachable } from './artifact-marker.ts'
import type { FileDigest, Manifest } from '../domain/model/manifest.ts'

/** Artifacts are kept; snapshots are read in place by DuckDB and so have an extension; checkpoints are removed after use. */
export type Area = 'artifacts' | 'snapshots' | 'checkpoints'

export interface StoredFile extends FileDigest {
  /** The time of the last write, on the clock of the file system. */
  writtenMs: number
}

/** A content-addressed store. Other machines reach it through a shared file system or an object store. */
export interface Artifacts {
  /** Whether other machines read from an object store. `share` then uploads what another process has written here. */
  isShared: boolean
  /** Does nothing without an object store. */
  share(area: Area, digest: string): Promise<void>
  put(area: Area, bytes: Uint8Array): Promise<FileDigest>
  /** Moves a finished file into the store. */
  take(area: Area, path: string): Promise<FileDigest>
  /** Returns the verified bytes. Throws `artifact_corrupt` when they do not match the digest, are missing, or exceed `maxBytes`. */
  get(area: Area, digest: string, maxBytes?: number): Promise<Buffer>
  /** A local path of the bytes, verified as by `get`, for readers that need a file. */
  locate(area: Area, digest: string): Promise<string>
  remove(area: Area, digest: string): Promise<void>
  /**
   * Removes a file unless it was written again after it was listed: its writer is then about to reference it. Returns whether it was
   * removed.
   */
  removeListed(area: Area, file: StoredFile): Promise<boolean>
  list(area: Area): AsyncIterable<StoredFile>
  /** Removes drafts older than this age. Returns the number removed. */
  clearDrafts(olderThanMs: number): Promise<number>
  /** A path for writing a file before `take`. */
  draft(extension: string): Promise<string>
  /** Records that a file of this machine is in use. */
  touch(area: Area, digest: string): Promise<void>
  /** The size of a file of this machine. */
  measure(area: Area, digest: string): Promise<FileDigest>
}

const pattern = /^sha256:[0-9a-f]{64}$/

/** Snapshots hold training rows, so other users of the machine read nothing here. */
const ownFileMode = 0o600
const ownDirectory = { recursive: true, mode: 0o700 }

export function digestOf(content: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`
}

export const digestOfJson = (value: unknown): string => digestOf(canonicalJson(value))

/** The path of a file below the root of a store, or of an area. Throws `artifact_corrupt` for a text that is not a digest. */
export function artifactKey(area: Area, digest?: string): string {
  const folder = area === 'artifacts' ? 'sha256' : area
  if (digest === undefined) return folder
  if (!pattern.test(digest))
    throw new DomainError(
      'artifact_corrupt',
      `"${digest}" is not a digest of the form sha256:<64 hexadecimal digits>`,
    )
  const hex = digest.slice('sha256:'.length)
  return area === 'snapshots' ? `${folder}/${hex}.parquet` : `${folder}/${hex.slice(0, 2)}/${hex}`
}

/** The digest in a path below the root; undefined for another form of path. */
export function parseArtifactKey(area: Area, key: string): string | undefined {
  const digest = `sha256:${basename(key, area === 'snapshots' ? '.parquet' : '')}`
  return pattern.test(digest) && artifactKey(area, digest) === key ? digest : undefined
}

export function openArtifacts(root: string): Artifacts {
  const place = (area: Area, digest: string): string => join(root, artifactKey(area, digest))
  /** A missing file of a folder that is not mounted is not lost. */
  const missing = async (digest: string, error: Error): Promise<never> => {
    await requireReachable(root)
    return corrupt(digest, error.message)
  }
  const draft = async (extension: string): Promise<string> => {
    await requireReachable(root)
    await mkdir(join(root, 'drafts'), ownDirectory)
    return join(root, 'drafts', `${randomUUID()}${extension}`)
  }
  const take = async (area: Area, path: string): Promise<FileDigest> => {
    const found = { digest: await digestOfFile(path), bytes: (await stat(path)).size }
    const target = place(area, found.digest)
    await requireReachable(root)
    await mkdir(dirname(target), ownDirectory)
    // The writer may be another program, whose files all users can read.
    await withFile(path, async (file) => {
      await file.chmod(ownFileMode)
      // The row of the file is written next; a collection keeps recent files.
      const now = new Date()
      await file.utimes(now, now)
      await file.sync()
    })
    await rename(path, target)
    return found
  }
  return {
    isShared: false,
    share: () => Promise.resolve(),
    draft,
    take,
    async touch(area, digest) {
      const now = new Date()
      await utimes(place(area, digest), now, now).catch(absentFile)
    },
    async measure(area, digest) {
      const { size } = await stat(place(area, digest)).catch((error: Error) => missing(digest, error))
      return { digest, bytes: size }
    },
    async put(area, bytes) {
      const hash = createHash('sha256')
      await updateInTurns(hash, bytes)
      const digest = `sha256:${hash.digest('hex')}`
      const path = await draft('')
      const target = place(area, digest)
      await mkdir(dirname(target), ownDirectory)
      await withFile(
        path,
        async (file) => {
          await file.writeFile(bytes)
          await file.sync()
        },
        'wx',
      )
      await rename(path, target)
      return { digest, bytes: bytes.byteLength }
    },
    async get(area, digest, maxBytes = Infinity) {
      const path = place(area, digest)
      const { size } = await stat(path).catch((error: Error) => missing(digest, error))
      // Checked before reading: the file may be larger than the memory.
      if (size > maxBytes) corrupt(digest, `it has ${size} bytes, more than ${maxBytes}`)
      const bytes = await readFile(path).catch((error: Error) => missing(digest, error))
      const found = digestOf(bytes)
      return found === digest ? bytes : corrupt(digest, otherBytes(found))
    },
    async locate(area, digest) {
      const path = place(area, digest)
      await access(path).catch((error: Error) => missing(digest, error))
      const found = await digestOfFile(path)
      return found === digest ? path : corrupt(digest, otherBytes(found))
    },
    remove(area, digest) {
      const path = place(area, digest)
      return requireReachable(root).then(() => rm(path, { force: true }))
    },
    async removeListed(area, { digest, writtenMs }) {
      const path = place(area, digest)
      if ((await writtenAt(path)) !== writtenMs) return false
      await rm(path, { force: true })
      return true
    },
    async *list(area) {
      await requireReachable(root)
      for await (const path of walkFiles(join(root, artifactKey(area)))) {
        const digest = parseArtifactKey(area, relative(root, path))
        const found = digest === undefined ? undefined : await stat(path).catch(() => undefined)
        if (digest !== undefined && found !== undefined)
          yield { digest, bytes: found.size, writtenMs: found.mtimeMs }
      }
    },
    async clearDrafts(olderThanMs) {
      await requireReachable(root)
      let cleared = 0
      for await (const path of walkFiles(join(root, 'drafts'))) {
        if (Date.now() - ((await writtenAt(path)) ?? Date.now()) <= olderThanMs) continue
        await rm(path, { force: true })
        cleared++
      }
      return cleared
    },
  }
}

const writtenAt = async (path: string): Promise<number | undefined> =>
  (await stat(path).catch(() => undefined))?.mtimeMs

/** Limits a manifest, because parsing it blocks the process. */
const manifestBytes = 4_194_304

/** The verified and parsed manifest with this digest. Its files are not read. */
export async function getManifest(artifacts: Pick<Artifacts, 'get'>, digest: string): Promise<Manifest> {
  const bytes = await artifacts.get('artifacts', digest, manifestBytes)
  const manifest = JSON.parse(bytes.toString('utf8')) as Manifest
  if (manifest.format !== 'tenure-artifact@1')
    throw new DomainError('artifact_invalid', `the format of ${digest} is ${JSON.stringify(manifest.format)}`)
  return manifest
}

/** A whole artifact with each file verified. `maxBytesOf` limits a file by its name. Throws as `get` does. */
export async function getArtifact(
  artifacts: Pick<Artifacts, 'get'>,
  digest: string,
  maxBytesOf?: (manifest: Manifest, name: string) => number,
): Promise<{ manifest: Manifest; files: Record<string, Buffer> }> {
  const manifest = await getManifest(artifacts, digest)
  const files = await Promise.all(
    Object.entries(manifest.files).map(
      async ([name, file]) =>
        [name, await artifacts.get('artifacts', file.digest, maxBytesOf?.(manifest, name))] as const,
    ),
  )
  return { manifest, files: Object.fromEntries(files) }
}

/** Stores a manifest as canonical JSON. Its digest names the whole artifact. */
export async function putManifest(artifacts: Artifacts, manifest: Manifest): Promise<string> {
  const stored = await artifacts.put('artifacts', Buffer.from(canonicalJson(manifest)))
  return stored.digest
}

/** Says of a file with another digest than its name what to do, since a digest alone tells a reader nothing. */
export const otherBytes = (found: string): string =>
  `it is corrupt, its bytes have the digest ${found}; restore the file from a backup of the artifacts and restart the replica`

function corrupt(digest: string, why: string): never {
  throw new DomainError('artifact_corrupt', `${digest} cannot be used: ${why}`, { digest })
}

const digestOfFile = (path: string): Promise<string> => digestOfChunks(createReadStream(path))

async function withFile(
  path: string,
  work: (file: FileHandle) => Promise<void>,
  flags = 'r+',
): Promise<void> {
  const file = await open(path, flags, ownFileMode)
  try {
    await work(file)
  } finally {
    await file.close()
  }
}
