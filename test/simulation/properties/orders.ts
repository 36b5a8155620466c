/** Reads from the stored rows how the orders that end a release were executed. */
import type { Memory } from '@tenure/simulator'

/** Returns whether the release has accepted an order to roll it back. A backup may be older than the order. */
export const isOrderStored = (memory: Memory, release: string): boolean =>
  memory
    .rows('commands')
    .some(
      (each) => each['release_id'] === release && each['kind'] === 'rollback' && each['accepted'] === true,
    )

/** Returns whether every other champion of the model was rolled back. */
export const isOnlyProven = (memory: Memory, version: string): boolean =>
  memory
    .rows('champion_history')
    .every(
      (each) =>
        each['version'] === version ||
        memory.row('versions', each['version'] as string)?.['rolled_back_at'] !== null,
    )
