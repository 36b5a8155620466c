/** What the stored rows say of the orders that end a release. */
import type { Memory, Row } from '../postgres/database.ts'

/** An order that was carried out, and told to the workflow of the model so late that the next release receives it. */
export const isOfAnotherRelease = (memory: Memory, { id, release_id }: Row): boolean =>
  memory
    .rows('command_outbox')
    .some(
      (each) =>
        id === `${release_id as string}/${each['command_id'] as string}` && release_id !== each['release_id'],
    )

/** A restored backup may be older than the order: then it may reach the workflow later, which refuses it where it rolls back already. */
export const isOrderStored = (memory: Memory, release: string): boolean =>
  memory.rows('command_outbox').some((each) => each['release_id'] === release) ||
  memory
    .rows('release_commands')
    .some(
      (each) => each['release_id'] === release && each['command'] === 'rollback' && each['accepted'] === true,
    )

/** Whether every other champion that the model had was rolled back. */
export const isOnlyProven = (memory: Memory, version: string): boolean =>
  memory
    .rows('champion_history')
    .every(
      (each) =>
        each['version'] === version ||
        memory.row('versions', each['version'] as string)?.['rolled_back_at'] !== null,
    )
