/**
 * Deletes the copies of artifacts and snapshots that no moment needs to which a restore can return. When a row ceased to name a file is seen only as it
 * happens, so it is kept in the store beside the copies, and a copy goes when the oldest base is younger than that.
 */
import { getManifest, type Artifacts } from '../../../store/artifacts.ts'
import type { References } from '../../../store/maintenance/dump.ts'
import type { ObjectStore } from '../../../store/objects/object-store.ts'
import { parseJson } from '../../../domain/parse-json.ts'
import { copyKey, listBases, unnamedKey } from './places.ts'

export interface CopyRetention {
  store: ObjectStore
  artifacts: Artifacts
  /** Keys of the copies; those that are deleted are removed from it. */
  copied: Set<string>
  systemId: string
  now?: Date
}

/** Keys, and when no row was found to name them for the first time. */
type Unnamed = Record<string, string>

/** Returns the keys of those that were deleted: none where a manifest cannot be read, or beside the bases of another database. */
export async function expireCopies(
  { manifests, snapshots }: References,
  { store, artifacts, copied, systemId, now = new Date() }: CopyRetention,
): Promise<string[]> {
  const bases = await listBases(store)
  const [oldest] = bases
  if (oldest === undefined || bases.some((base) => base.systemId !== systemId)) return []
  const named = new Set(snapshots.map((digest) => copyKey('snapshots', digest)))
  for (const { digest } of manifests) {
    const manifest = await getManifest(artifacts, digest).catch(() => undefined)
    if (manifest === undefined) return []
    for (const each of [{ digest }, ...Object.values(manifest.files)])
      named.add(copyKey('artifacts', each.digest))
  }
  const known = await readUnnamed(store)
  const unnamed: Unnamed = {}
  const expired: string[] = []
  for (const key of copied) {
    if (named.has(key)) continue
    const since = known[key] ?? now.toISOString()
    if (since < oldest.endedAt) expired.push(key)
    else unnamed[key] = since
  }
  for (const key of expired) {
    await store.remove(key)
    copied.delete(key)
  }
  if (JSON.stringify(unnamed) !== JSON.stringify(known))
    await store.put(unnamedKey, Buffer.from(JSON.stringify(unnamed)))
  return expired
}

/** A file that is lost or damaged begins again: the copies then stay longer. */
async function readUnnamed(store: ObjectStore): Promise<Unnamed> {
  const bytes = await store.get(unnamedKey)
  const read = bytes && parseJson<unknown>(bytes.toString())
  return typeof read === 'object' && read !== null ? (read as Unnamed) : {}
}
