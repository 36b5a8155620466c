/** Chooses the backups to delete. */

export interface KnownBackup {
  /** Names sort in the order of their times. */
  name: string
  /** Whether the backup was verified. */
  isGood: boolean
}

/**
 * Returns the backups that are older than the `keep` newest good ones. Returns none while fewer than `keep` are good, so that unusable
 * backups never push out the last usable one.
 */
export function expiredBackups(backups: readonly KnownBackup[], keep: number): string[] {
  const good = backups.filter(({ isGood }) => isGood).map(({ name }) => name)
  const oldestKept = good.toSorted().at(-keep)
  if (oldestKept === undefined) return []
  return backups.map(({ name }) => name).filter((name) => name < oldestKept)
}
