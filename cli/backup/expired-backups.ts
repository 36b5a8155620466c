/** Chooses the backups that are kept no more. */

export interface KnownBackup {
  /** Names sort as their times do. */
  name: string
  /** Whether it was verified. */
  isGood: boolean
}

/**
 * All that are older than the `keep` newest good ones. While there are fewer good ones, all stay: a series of backups that cannot be used never
 * pushes out the last one that can.
 */
export function expiredBackups(backups: readonly KnownBackup[], keep: number): string[] {
  const good = backups.filter(({ isGood }) => isGood).map(({ name }) => name)
  const oldestKept = good.toSorted().at(-keep)
  if (oldestKept === undefined) return []
  return backups.map(({ name }) => name).filter((name) => name < oldestKept)
}
