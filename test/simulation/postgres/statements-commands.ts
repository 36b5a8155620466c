/** Implements the statements about commands for the in-memory Postgres. */
import { demand, insertOnce, parse, type Statements } from './statement.ts'

const unanswered = { release_id: null, run_id: null, accepted: null }

export const commandStatements: Statements = {
  '124e517a': [
    'insertStart',
    (query, [id, kind, model, actor, key_id, role, reason, input, basis, minutes]) => {
      demand(query, 'models', model)
      const until = query.clockMs + (minutes as number) * 60_000
      const row = { id, kind, model, actor, key_id, role, reason, input: parse(input), basis: parse(basis) }
      const isNew = insertOnce(query, 'commands', id as string, { ...row, ...unanswered, until })
      return isNew ? [{ id }] : []
    },
  ],
  '0489f026': [
    'insertStart',
    (query, [minutes, basis, id]) => {
      const until = query.clockMs + (minutes as number) * 60_000
      const row = query.find('commands', id as string)
      if (row?.['run_id'] === null)
        query.put('commands', id as string, { ...row, until, basis: parse(basis) })
      return []
    },
  ],
  f36b4e47: [
    'findStart',
    (query, [id]) => {
      const row = query.find('commands', id as string)
      if (row === undefined || row['release_id'] !== null) return []
      const { kind, model, actor, key_id, input, basis, run_id, accepted, until } = row
      const is_late = (until as number) <= query.clockMs
      return [{ id, kind, model, actor, key_id, input, basis, run_id, accepted, is_late }]
    },
  ],
  '6c1e4a8c': [
    'claimStart',
    (query, [runId, id]) => {
      query.lock('commands', id as string)
      const row = query.find('commands', id as string)
      if (row === undefined) return []
      const run_id = row['run_id'] ?? runId
      query.put('commands', id as string, { ...row, run_id })
      return [{ run_id }]
    },
  ],
  '34b5d3c2': [
    'readStartBasis',
    (query, [model, version]) => [
      {
        champion: query.find('champions', model as string)?.['version'] ?? null,
        artifact: query.find('versions', version as string)?.['artifact_digest'] ?? null,
      },
    ],
  ],
}
