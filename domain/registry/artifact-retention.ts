/**
 * Which files are given up when all of them together are more than may be kept. Left to grow, a year of retrainings fills
 * the disk, and the next one to fail for want of room would be the database.
 */

/** Files that come and go together: an artifact with its manifest, or a snapshot. */
export interface ArtifactGroup {
  digest: string
  /** Digest → bytes; two artifacts may share a file. */
  files: ReadonlyMap<string, number>
  /** It answers, is on its way to, could be returned to, or was made only now: it stays. */
  inUse: boolean
  /** What was trained is worth more than what was not; what was released more than what was not. */
  kind: 'snapshot' | 'candidate' | 'version' | 'proven'
  madeMs: number
  /** Of an artifact: the snapshots it stands on. They stay for as long as it does. */
  standsOn?: readonly string[]
}

const worth: readonly ArtifactGroup['kind'][] = ['snapshot', 'candidate', 'version', 'proven']

export interface Choice {
  /** In the order in which they go. */
  given: ArtifactGroup[]
  /** Of everything, before and after. */
  beforeBytes: number
  afterBytes: number
}

/** The least worth first, the oldest first among equals, until what remains fits. */
export function selectForDeletion(lots: readonly ArtifactGroup[], budgetBytes: number): Choice {
  const held = new Map<string, { bytes: number; by: number }>()
  for (const { files } of lots)
    for (const [digest, bytes] of files) {
      const file = held.get(digest)
      if (file) file.by++
      else held.set(digest, { bytes, by: 1 })
    }
  const standing = new Map<string, number>()
  for (const { standsOn = [] } of lots)
    for (const digest of standsOn) standing.set(digest, (standing.get(digest) ?? 0) + 1)
  const snapshots = new Map(lots.filter(({ kind }) => kind === 'snapshot').map((lot) => [lot.digest, lot]))
  const beforeBytes = [...held.values()].reduce((sum, { bytes }) => sum + bytes, 0)
  const given: ArtifactGroup[] = []
  let afterBytes = beforeBytes
  const give = (lot: ArtifactGroup): void => {
    given.push(lot)
    for (const digest of lot.files.keys()) {
      const file = held.get(digest)
      if (file && --file.by === 0) afterBytes -= file.bytes
    }
    for (const digest of lot.standsOn ?? []) {
      const left = (standing.get(digest) ?? 0) - 1
      standing.set(digest, left)
      const snapshot = snapshots.get(digest)
      if (left === 0 && snapshot && !snapshot.inUse) give(snapshot)
    }
  }
  const order = lots
    .filter(({ inUse, digest }) => !inUse && !standing.has(digest))
    .toSorted((a, b) => worth.indexOf(a.kind) - worth.indexOf(b.kind) || a.madeMs - b.madeMs)
  for (const lot of order) {
    if (afterBytes <= budgetBytes) break
    give(lot)
  }
  return { given, beforeBytes, afterBytes }
}
