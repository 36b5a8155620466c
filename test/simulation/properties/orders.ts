/** Reads from the stored rows how the orders that end a release were executed. */
import type { Memory, Row } from '../postgres/database.ts'

/** Returns whether an order was executed but reached the workflow so late that the next release received it. */
export const isOfAnotherRelease = (memory: Memory, { id, release_id }: Row): boolean =>
  memory
    .rows('command_outbox')
    .some(
      (each) =>
        id === `${release_id as string}/${each['command_id'] as string}` && release_id !== each['release_id'],
    )

/**
 * Returns whether an order may be late because of a restored backup: the backup may be older than the order, and the workflow refuses the
 * order when it is already rolling back.
 */
export const isOrderStored = (memory: Memory, release: string): boolean =>
  memory.rows('command_outbox').some((each) => each['release_id'] === release) ||
  memory
    .rows('release_commands')
    .some(
      (each) => each['release_id'] === release && each['command'] === 'rollback' && each['accepted'] === true,
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
