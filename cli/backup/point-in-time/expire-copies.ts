/**
 * Deletes copies of artifacts and snapshots that no possible restore needs. A file beside the copies records when each copy was first found
 * unreferenced. A copy is deleted once every base is newer than that time.
 */
import { getManifest, type Artifacts } from '../../../store/artifacts.ts'
import type { References } from '../../../store/maintenance/dump.ts'
import type { ObjectStore } from '../../../store/objects/object-store.ts'
import { parseJson } from '../../../domain/parse-json.ts'
import { copyKey, listBases, unnamedKey } from './places.ts'

export interface CopyRetention {
  store: ObjectStore
  artifacts: Artifacts
  /** Keys of the copies. The keys of deleted copies are removed from this set. */
  copied: Set<string>
  systemId: string
  now?: Date
}

/** Key → the time at which the copy was first found unreferenced, as ISO 8601. */
type Unnamed = Record<string, string>

/**
 * Returns the keys of the deleted copies. Deletes nothing if a manifest is unreadable or the store also holds bases of another database.
 */
export async function expireCopies(
  { manifests, snapshots, subjectLists }: References,
  { store, artifacts, copied, systemId, now = new Date() }: CopyRetention,
): Promise<string[]> {
  const bases = await listBases(store)
  const [oldest] = bases
  if (oldest === undefined || bases.some((base) => base.systemId !== systemId)) return []
  const named = new Set([...snapshots, ...subjectLists].map((digest) => copyKey('snapshots', digest)))
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

/** Reads the times; empty if the file is lost or damaged, which only keeps the copies longer. */
async function readUnnamed(store: ObjectStore): Promise<Unnamed> {
  const bytes = await store.get(unnamedKey)
  const read = bytes && parseJson<unknown>(bytes.toString())
  return typeof read === 'object' && read !== null ? (read as Unnamed) : {}
}
