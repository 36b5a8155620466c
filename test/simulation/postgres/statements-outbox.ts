/** Implements the statements about recorded commands for the in-memory Postgres. */
import type { Row } from './database.ts'
import { insertOnce, parse, type Statements } from './statement.ts'

export const outboxStatements: Statements = {
  f17dc46f: [
    'findRollbackOrder',
    (query, [release]) =>
      query
        .all('command_outbox')
        .filter((row) => row['release_id'] === release && row['command'] === 'rollback')
        .map(({ actor, message }) => ({ by: actor, reason: (message as Row)['reason'] ?? null })),
  ],
  '71307b6a': [
    'isEndedByUser',
    (query, [release]) => [
      ...query
        .all('release_commands')
        .filter(
          (row) =>
            row['release_id'] === release &&
            row['accepted'] === true &&
            ['reject', 'abort', 'rollback'].includes(row['command'] as string),
        )
        .map(() => ({})),
      ...query
        .all('command_outbox')
        .filter((row) => row['release_id'] === release && row['command'] === 'rollback')
        .map(() => ({})),
    ],
  ],
  '8312b50c': [
    'recordCommand',
    (query, [id, release_id, command_id, command, actor, message]) => {
      const row = { id, release_id, command_id, command, actor, message: parse(message) }
      return insertOnce(query, 'command_outbox', id as string, row) ? [{ id }] : []
    },
  ],
}
