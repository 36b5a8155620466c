/** Selects the artifacts and snapshots to delete when their total exceeds the budget, so that the disk never fills up. */
/** Files that are deleted together: an artifact with its manifest, or a snapshot. */
export interface ArtifactGroup {
  digest: string
  /** Digest → bytes; two artifacts may share a file. */
  files: ReadonlyMap<string, number>
  /** Whether it serves, is being released, is a rollback target, or is new; it is then kept. */
  inUse: boolean
  /** The kind, from the least to the most valuable. */
  kind: 'snapshot' | 'candidate' | 'version' | 'proven'
  madeMs: number
  /** The snapshots of an artifact, which are kept as long as the artifact. */
  standsOn?: readonly string[]
}

const worth: readonly ArtifactGroup['kind'][] = ['snapshot', 'candidate', 'version', 'proven']

export interface Choice {
  /** In the order of deletion. */
  given: ArtifactGroup[]
  /** The total before and after. */
  beforeBytes: number
  afterBytes: number
}

/** Selects the least valuable groups first, then the oldest, until the rest fits the budget. */
export function selectForDeletion(groups: readonly ArtifactGroup[], budgetBytes: number): Choice {
  const held = new Map<string, { bytes: number; by: number }>()
  for (const { files } of groups)
    for (const [digest, bytes] of files) {
      const file = held.get(digest)
      if (file) file.by++
      else held.set(digest, { bytes, by: 1 })
    }
  const dependents = new Map<string, number>()
  for (const { standsOn = [] } of groups)
    for (const digest of standsOn) dependents.set(digest, (dependents.get(digest) ?? 0) + 1)
  const snapshots = new Map(
    groups.filter(({ kind }) => kind === 'snapshot').map((group) => [group.digest, group]),
  )
  const beforeBytes = [...held.values()].reduce((sum, { bytes }) => sum + bytes, 0)
  const given: ArtifactGroup[] = []
  let afterBytes = beforeBytes
  const give = (group: ArtifactGroup): void => {
    given.push(group)
    for (const digest of group.files.keys()) {
      const file = held.get(digest)
      if (file && --file.by === 0) afterBytes -= file.bytes
    }
    for (const digest of group.standsOn ?? []) {
      const left = (dependents.get(digest) ?? 0) - 1
      dependents.set(digest, left)
      const snapshot = snapshots.get(digest)
      if (left === 0 && snapshot && !snapshot.inUse) give(snapshot)
    }
  }
  const order = groups
    .filter(({ inUse, digest }) => !inUse && !dependents.has(digest))
    .toSorted((a, b) => worth.indexOf(a.kind) - worth.indexOf(b.kind) || a.madeMs - b.madeMs)
  for (const group of order) {
    if (afterBytes <= budgetBytes) break
    give(group)
  }
  return { given, beforeBytes, afterBytes }
}
