/**
 * Opens the artifacts of this installation: in a directory, or in an object store with copies in a local directory. Writes go to both;
 * reads use the copy first.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DomainError, isError } from '../../domain/errors.ts'
import { absentFile } from '../absent-file.ts'
import {
  getManifest,
  openArtifacts,
  digestOf,
  otherBytes,
  parseArtifactKey,
  artifactKey,
  type Area,
  type Artifacts,
  type StoredFile,
} from '../artifacts.ts'
import type { ObjectStore, ObjectStoreSettings } from './object-store.ts'
import { openObjectStore } from './open-store.ts'

/** The copies that this machine keeps beside an object store. */
export interface ArtifactCopies {
  /** Uploads the files that this machine had before the object store was configured, once. */
  adopt(): Promise<AdoptedFiles>
  /** Removes copies that were not used for a week, and those that the object store no longer has. Returns their number. */
  evict(): Promise<number>
}

export interface AdoptedFiles {
  /** The number of uploaded files. */
  stored: number
  /** The keys of files that were left out because their bytes do not have their digest. */
  damaged: string[]
}

export interface SharedArtifacts extends Artifacts {
  /** The object store; this and `copies` are absent without one. */
  objects?: ObjectStore
  copies?: ArtifactCopies
}

/** The local directory, and the object store when one is configured. */
export function openSharedArtifacts(place: {
  artifactRoot: string
  objectStore?: ObjectStoreSettings
}): SharedArtifacts {
  const local = openArtifacts(place.artifactRoot)
  return place.objectStore === undefined
    ? local
    : withObjectStore(place.artifactRoot, openObjectStore(place.objectStore))
}

/** A collection removes files without a row that are older than a day, so an older object is uploaded again before its row is written. */
const freshMs = 6 * 3_600_000
const areas: readonly Area[] = ['artifacts', 'snapshots', 'checkpoints']

export function withObjectStore(artifactRoot: string, objects: ObjectStore): SharedArtifacts {
  const local = openArtifacts(artifactRoot)
  const nameOf = (area: Area, digest: string): string => `${objects.address}/${artifactKey(area, digest)}`
  const corrupt = (area: Area, digest: string, why: string): never => {
    throw new DomainError('artifact_corrupt', `${nameOf(area, digest)} cannot be used: ${why}`, { digest })
  }
  /** The local copy; undefined when it is missing or damaged. */
  const copyOf = async <T>(read: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await read()
    } catch (error) {
      if (isError(error, 'artifact_corrupt')) return undefined
      throw error
    }
  }
  const share = async (area: Area, digest: string): Promise<void> => {
    const path = await local.locate(area, digest)
    const key = artifactKey(area, digest)
    const { bytes } = await local.measure(area, digest)
    const isStored = async (): Promise<boolean> => {
      const found = await objects.find(key)
      return found !== undefined && found.bytes === bytes && Date.now() - found.writtenMs < freshMs
    }
    if (await isStored()) return
    if (await objects.put(key, { path }, { ifAbsent: true })) return
    // Another writer was faster, or the object is truncated or old.
    if (!(await isStored())) await objects.put(key, { path })
  }
  const bring = async (area: Area, digest: string): Promise<string> => {
    const draft = await local.draft('')
    try {
      const found = await objects.download(artifactKey(area, digest), draft)
      if (found === undefined) return corrupt(area, digest, 'there is no such object')
      if (found.digest !== digest) corrupt(area, digest, otherBytes(found.digest))
      await local.take(area, draft)
    } finally {
      await rm(draft, { force: true })
    }
    return local.locate(area, digest)
  }
  const locate = async (area: Area, digest: string): Promise<string> => {
    const copy = await copyOf(() => local.locate(area, digest))
    if (copy === undefined) return bring(area, digest)
    await local.touch(area, digest)
    return copy
  }
  async function* list(area: Area): AsyncGenerator<StoredFile> {
    for await (const { key, bytes, writtenMs } of objects.list(`${artifactKey(area)}/`)) {
      const digest = parseArtifactKey(area, key)
      if (digest !== undefined) yield { digest, bytes, writtenMs }
    }
  }
  return {
    isShared: true,
    objects,
    share,
    locate,
    list,
    draft: local.draft,
    clearDrafts: local.clearDrafts,
    touch: local.touch,
    measure: local.measure,
    async put(area, bytes) {
      const stored = await local.put(area, bytes)
      await share(area, stored.digest)
      return stored
    },
    async take(area, path) {
      const stored = await local.take(area, path)
      await share(area, stored.digest)
      return stored
    },
    async get(area, digest, maxBytes) {
      const copy = await copyOf(() => local.get(area, digest, maxBytes))
      if (copy !== undefined) return copy
      const bytes = await objects.get(artifactKey(area, digest), maxBytes)
      if (bytes === undefined) return corrupt(area, digest, 'there is no such object')
      const found = digestOf(bytes)
      return found === digest ? bytes : corrupt(area, digest, otherBytes(found))
    },
    async remove(area, digest) {
      await objects.remove(artifactKey(area, digest))
      await local.remove(area, digest)
    },
    async removeListed(area, { digest, bytes, writtenMs }) {
      const key = artifactKey(area, digest)
      const found = await objects.find(key)
      if (found === undefined || found.bytes !== bytes) return false
      if (wholeSecond(found.writtenMs) !== wholeSecond(writtenMs)) return false
      await objects.remove(key)
      await local.remove(area, digest)
      return true
    },
    copies: createCopies({ local, share, objects, marker: join(artifactRoot, 'copies-of') }),
  }
}

/** Servers of S3 list times in milliseconds, and answer for one object in whole seconds. */
const wholeSecond = (ms: number): number => Math.floor(ms / 1_000)

/** How long a copy stays that is in use or was just written. */
const usedMs = 3_600_000
const unusedMs = 7 * 86_400_000

/** A copy that the object store no longer has contains rows of an erased subject, or was left by a killed process. */
function createCopies({
  local,
  share,
  objects,
  marker,
}: {
  local: Artifacts
  share: Artifacts['share']
  objects: ObjectStore
  /** The file that names the object store of these copies. */
  marker: string
}): ArtifactCopies {
  const isAdopted = async (): Promise<boolean> =>
    (await readFile(marker, 'utf8').catch(absentFile)) === objects.address
  const keysIn = async (area: Area): Promise<Set<string>> => {
    const keys = new Set<string>()
    for await (const { key } of objects.list(`${artifactKey(area)}/`)) keys.add(key)
    return keys
  }
  return {
    async adopt() {
      const adopted: AdoptedFiles = { stored: 0, damaged: [] }
      if (await isAdopted()) return adopted
      for (const area of areas) {
        const keys = await keysIn(area)
        for await (const { digest } of local.list(area)) {
          const key = artifactKey(area, digest)
          if (keys.has(key)) continue
          const isIntact = await unlessDamaged(() => share(area, digest))
          if (isIntact) adopted.stored++
          else adopted.damaged.push(key)
        }
      }
      await mkdir(dirname(marker), { recursive: true, mode: 0o700 })
      await writeFile(marker, objects.address, { mode: 0o600 })
      return adopted
    },
    async evict() {
      // Before that, a file that the store lacks is the only one.
      if (!(await isAdopted())) return 0
      let evicted = 0
      for (const area of areas) {
        const keys = await keysIn(area)
        for await (const file of local.list(area)) {
          const ageMs = Date.now() - file.writtenMs
          const isStored = keys.has(artifactKey(area, file.digest))
          if (ageMs < (isStored ? unusedMs : usedMs)) continue
          if (await local.removeListed(area, file)) evicted++
        }
      }
      return evicted
    },
  }
}

/** Uploads an artifact that another local process has written: its files before the manifest that names them. */
export async function shareArtifact(artifacts: Artifacts, digest: string): Promise<void> {
  if (!artifacts.isShared) return
  const { files } = await getManifest(artifacts, digest)
  for (const file of Object.values(files)) await artifacts.share('artifacts', file.digest)
  await artifacts.share('artifacts', digest)
}

/** A snapshot, a checkpoint, an artifact with the files that its manifest names, or one file of the artifacts. */
export interface RequiredCopies {
  snapshot?: string
  checkpoint?: string
  artifacts?: readonly (string | undefined)[]
  files?: readonly (string | undefined)[]
}

/**
 * Copies the files that a process without access to the object store will read; such a process opens untrusted files or runs user code.
 * The reader reports missing and damaged files.
 */
export async function bringCopies(artifacts: Artifacts, required: RequiredCopies): Promise<void> {
  if (!artifacts.isShared) return
  const bring = async (area: Area, digest: string | undefined): Promise<void> => {
    if (digest !== undefined) await artifacts.locate(area, digest)
  }
  const { snapshot, checkpoint, files = [] } = required
  await unlessDamaged(() => bring('snapshots', snapshot))
  await unlessDamaged(() => bring('checkpoints', checkpoint))
  for (const digest of files) await unlessDamaged(() => bring('artifacts', digest))
  for (const digest of required.artifacts ?? [])
    await unlessDamaged(async () => {
      if (digest === undefined) return
      await bring('artifacts', digest)
      const manifest = await getManifest(artifacts, digest)
      for (const file of Object.values(manifest.files)) await bring('artifacts', file.digest)
    })
}

/** Returns whether the work succeeded; false for a damaged or missing file. */
async function unlessDamaged(work: () => Promise<void>): Promise<boolean> {
  try {
    await work()
    return true
  } catch (error) {
    if (isError(error, 'artifact_corrupt') || isError(error, 'artifact_invalid')) return false
    throw error
  }
}
