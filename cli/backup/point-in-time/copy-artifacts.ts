/**
 * Copies the artifacts and snapshots that database rows reference to the object store, and back. Objects are named by their digests, so a
 * copy never changes.
 */
import { rm } from 'node:fs/promises'
import { isError } from '../../../domain/errors.ts'
import { getManifest, type Artifacts } from '../../../store/artifacts.ts'
import type { References } from '../../../store/maintenance/dump.ts'
import type { ObjectStore } from '../../../store/objects/object-store.ts'
import { subjectListText } from '../manifest.ts'
import { copyKey } from './places.ts'

type CopiedArea = 'artifacts' | 'snapshots'

/** Lists the keys of the existing copies. */
export async function listCopies(store: ObjectStore): Promise<Set<string>> {
  const keys = new Set<string>()
  for (const area of ['artifacts', 'snapshots'] as const)
    for await (const { key } of store.list(copyKey(area))) keys.add(key)
  return keys
}

/**
 * Copies files whose keys are not in `copied`, and adds their keys. Skips a file that is missing on this machine: the verification of
 * backups reports it.
 */
export async function copyArtifacts(
  { manifests, snapshots, subjectLists }: References,
  { artifacts, store, copied }: { artifacts: Artifacts; store: ObjectStore; copied: Set<string> },
): Promise<void> {
  const copy = async (area: CopiedArea, digest: string): Promise<void> => {
    const key = copyKey(area, digest)
    if (copied.has(key)) return
    await store.put(key, { path: await artifacts.locate(area, digest) }, { ifAbsent: true })
    copied.add(key)
  }
  for (const { digest } of manifests) {
    if (copied.has(copyKey('artifacts', digest))) continue
    await unlessMissing(async () => {
      const { files } = await getManifest(artifacts, digest)
      for (const file of Object.values(files)) await copy('artifacts', file.digest)
      // The manifest is copied last, so that a copied manifest implies copied files.
      await copy('artifacts', digest)
    })
  }
  for (const digest of [...snapshots, ...subjectLists]) await unlessMissing(() => copy('snapshots', digest))
}

async function unlessMissing(work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!isError(error, 'artifact_corrupt') && !isError(error, 'artifact_invalid')) throw error
  }
}

/** Downloads referenced files that this machine lacks. Returns the number of downloaded files, and the files that the store lacks too. */
export async function downloadArtifacts(
  { manifests, snapshots, subjectLists }: References,
  { artifacts, store }: { artifacts: Artifacts; store: ObjectStore },
): Promise<{ brought: number; missing: string[] }> {
  const missing: string[] = []
  let brought = 0
  const bring = async (area: CopiedArea, digest: string): Promise<void> => {
    const there = await artifacts.locate(area, digest).catch(() => undefined)
    if (there !== undefined) return artifacts.share(area, digest)
    const draft = await artifacts.draft(area === 'snapshots' ? '.parquet' : '')
    try {
      const found = await store.download(copyKey(area, digest), draft)
      if (found?.digest !== digest)
        throw new Error(found === undefined ? 'it is absent' : 'its bytes have changed')
      await artifacts.take(area, draft)
      brought++
    } finally {
      await rm(draft, { force: true })
    }
  }
  const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
    await work().catch((error: unknown) => {
      if (isError(error, 'object_store_unavailable')) throw error
      missing.push(`${what}: ${(error as Error).message}`)
    })
  }
  for (const { digest, version } of manifests)
    await attempt(version ?? `a candidate (${digest})`, async () => {
      await bring('artifacts', digest)
      const { files } = await getManifest(artifacts, digest)
      for (const file of Object.values(files)) await bring('artifacts', file.digest)
    })
  for (const digest of snapshots) await attempt(`the snapshot ${digest}`, () => bring('snapshots', digest))
  for (const digest of subjectLists) await attempt(subjectListText(digest), () => bring('snapshots', digest))
  return { brought, missing }
}
