/**
 * Files named by the SHA-256 of their bytes. A name that comes from outside can therefore never lead to another
 * file, two writers of one content cannot disagree, and bytes that have changed on the disk are never loaded.
 */
import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { access, mkdir, open, readFile, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { canonicalJson } from '../domain/canonical.ts'
import { DomainError } from '../domain/errors.ts'
import type { FileDigest, Manifest } from '../domain/manifest.ts'

/** Artifacts stay; snapshots are read in place by DuckDB and so have an extension; checkpoints are removed after use. */
export type Area = 'artifacts' | 'snapshots' | 'checkpoints'

/** A content-addressed store. What another machine must reach lies on a shared file system; an object store fits behind the same five functions. */
export interface Artifacts {
  put(area: Area, bytes: Uint8Array): Promise<FileDigest>
  /** Takes a finished file over, by moving it. */
  take(area: Area, path: string): Promise<FileDigest>
  /** The bytes, checked. Throws `artifact_corrupt` when they are not those of the digest, or gone, or more than are wanted. */
  get(area: Area, digest: string, mostBytes?: number): Promise<Buffer>
  /** A local path with the bytes, checked as by `get`; for readers that need a file. */
  locate(area: Area, digest: string): Promise<string>
  remove(area: Area, digest: string): Promise<void>
  /** Where a file may be written before it is taken over. */
  draft(extension: string): Promise<string>
}

const pattern = /^sha256:[0-9a-f]{64}$/

export function digestOf(content: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`
}

/** The digest of a value by its canonical JSON. */
export const digestOfJson = (value: unknown): string => digestOf(canonicalJson(value))

export function openArtifacts(root: string): Artifacts {
  const place = (area: Area, digest: string): string => {
    if (!pattern.test(digest))
      throw new DomainError(
        'artifact_corrupt',
        `"${digest}" is no digest of the form sha256:<64 hexadecimal digits>`,
      )
    const hex = digest.slice('sha256:'.length)
    if (area === 'snapshots') return join(root, 'snapshots', `${hex}.parquet`)
    return join(root, area === 'artifacts' ? 'sha256' : area, hex.slice(0, 2), hex)
  }
  const draft = async (extension: string): Promise<string> => {
    await mkdir(join(root, 'drafts'), { recursive: true })
    return join(root, 'drafts', `${randomUUID()}${extension}`)
  }
  const take = async (area: Area, path: string): Promise<FileDigest> => {
    const found = { digest: await digestOfFile(path), bytes: (await stat(path)).size }
    const target = place(area, found.digest)
    await mkdir(dirname(target), { recursive: true })
    await withFile(path, (file) => file.sync())
    await rename(path, target)
    return found
  }
  return {
    draft,
    take,
    async put(area, bytes) {
      const digest = digestOf(bytes)
      const path = await draft('')
      const target = place(area, digest)
      await mkdir(dirname(target), { recursive: true })
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
    async get(area, digest, mostBytes = Infinity) {
      const path = place(area, digest)
      const { size } = await stat(path).catch((error: Error) => corrupt(digest, error.message))
      // Before anything is read: what lies there may be larger than the memory.
      if (size > mostBytes) corrupt(digest, `it has ${size} bytes, more than ${mostBytes}`)
      const bytes = await readFile(path).catch((error: Error) => corrupt(digest, error.message))
      const found = digestOf(bytes)
      return found === digest ? bytes : corrupt(digest, `its bytes have the digest ${found}`)
    },
    async locate(area, digest) {
      const path = place(area, digest)
      await access(path).catch((error: Error) => corrupt(digest, error.message))
      const found = await digestOfFile(path)
      return found === digest ? path : corrupt(digest, `its bytes have the digest ${found}`)
    },
    remove: (area, digest) => rm(place(area, digest), { force: true }),
  }
}

/** Most bytes of a manifest: parsing it holds up whoever reads it. */
const manifestBytes = 4_194_304

/** The manifest of this digest, checked and parsed; its files are not read. */
export async function getManifest(artifacts: Artifacts, digest: string): Promise<Manifest> {
  const bytes = await artifacts.get('artifacts', digest, manifestBytes)
  const manifest = JSON.parse(bytes.toString('utf8')) as Manifest
  if (manifest.format !== 'tenure-artifact@1')
    throw new DomainError('artifact_invalid', `the format of ${digest} is ${JSON.stringify(manifest.format)}`)
  return manifest
}

/** A whole artifact, each file checked. Throws as `get` does. */
export async function getArtifact(
  artifacts: Artifacts,
  digest: string,
): Promise<{ manifest: Manifest; topology: Buffer; weights: Buffer }> {
  const manifest = await getManifest(artifacts, digest)
  const [topology, weights] = await Promise.all([
    artifacts.get('artifacts', manifest.files['model.json'].digest),
    artifacts.get('artifacts', manifest.files['weights.bin'].digest),
  ])
  return { manifest, topology, weights }
}

/** Stores a manifest as canonical JSON; its digest names the whole artifact. */
export async function putManifest(artifacts: Artifacts, manifest: Manifest): Promise<string> {
  const stored = await artifacts.put('artifacts', Buffer.from(canonicalJson(manifest)))
  return stored.digest
}

function corrupt(digest: string, why: string): never {
  throw new DomainError('artifact_corrupt', `${digest} cannot be used: ${why}`, { digest })
}

async function digestOfFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
  return `sha256:${hash.digest('hex')}`
}

async function withFile(
  path: string,
  work: (file: FileHandle) => Promise<void>,
  flags = 'r+',
): Promise<void> {
  const file = await open(path, flags)
  try {
    await work(file)
  } finally {
    await file.close()
  }
}
