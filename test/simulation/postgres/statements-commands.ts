/** Implements the statements about commands for the in-memory Postgres: starts, and commands to releases. */
import type { Query, Row } from '@tenure/simulator'
import { demand, insertOnce, parse, type Statements } from './statement.ts'

/** A command before its first delivery, its run and its answer. */
const fresh = {
  release_id: null,
  next_at: null,
  sent_at: null,
  times: 0,
  problem: null,
  run_id: null,
  accepted: null,
  stage: null,
  message: null,
  answered_at: null,
}

const later = (query: Query, ms: unknown): number | null =>
  ms === null ? null : query.clockMs + (ms as number)

const change = (query: Query, id: unknown, next: (row: Row) => Row | undefined): void => {
  if (query.find('commands', id as string) === undefined) return
  query.lock('commands', id as string)
  const row = query.find('commands', id as string)
  const changes = row && next(row)
  if (changes) query.put('commands', id as string, { ...row, ...changes })
}

const ofRelease = (query: Query, release: unknown): Row[] =>
  query
    .all('commands')
    .filter((row) => row['release_id'] === release)
    .sort((a, b) => (a['position'] as number) - (b['position'] as number))

/** Whether no other transaction holds the row, which `skip locked` leaves out. */
function isFree(query: Query, id: unknown): boolean {
  try {
    query.lock('commands', id as string)
    return true
  } catch (error) {
    if ((error as { lock?: string }).lock === undefined) throw error
    return false
  }
}

export const commandStatements: Statements = {
  '124e517a': [
    'insertStart',
    (query, [id, kind, model, actor, key_id, role, reason, input, basis, minutes]) => {
      demand(query, 'models', model)
      const until = query.clockMs + (minutes as number) * 60_000
      const row = { id, kind, model, actor, key_id, role, reason, input: parse(input), basis: parse(basis) }
      const position = query.number('commands')
      const isNew = insertOnce(query, 'commands', id as string, { ...fresh, ...row, position, until })
      return isNew ? [{ id }] : []
    },
  ],
  '0489f026': [
    'insertStart',
    (query, [minutes, basis, id]) => {
      const until = query.clockMs + (minutes as number) * 60_000
      change(query, id, (row) => (row['run_id'] === null ? { until, basis: parse(basis) } : undefined))
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
      change(query, id, (row) => ({ run_id: row['run_id'] ?? runId }))
      const row = query.find('commands', id as string)
      return row === undefined ? [] : [{ run_id: row['run_id'] }]
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
  '843cbb2a': [
    'insertCommand',
    (query, values) => {
      const [id, kind, model, release_id, actor, key_id, role, reason, digests, until, deliverInMs] = values
      const row = { id, kind, model, release_id, actor, key_id, role, reason, digests: parse(digests), until }
      const next_at = later(query, deliverInMs)
      const position = query.number('commands')
      if (
        !insertOnce(query, 'commands', id as string, {
          ...fresh,
          ...row,
          position,
          next_at,
          at: query.clockMs,
        })
      )
        return []
      demand(query, 'models', model)
      demand(query, 'releases', release_id)
      // The foreign key waits for a transaction that has locked the release for an update.
      query.lock('releases', release_id as string)
      return [{ id }]
    },
  ],
  '3dfbb945': [
    'hasUnanswered',
    (query, [release]) =>
      ofRelease(query, release)
        .filter((row) => row['answered_at'] === null)
        .slice(0, 1)
        .map(() => ({})),
  ],
  '9e860f64': [
    'listUnanswered',
    (query, [release, most]) =>
      ofRelease(query, release)
        .filter((row) => row['answered_at'] === null)
        .slice(0, most as number)
        .map(({ id, kind, release_id, model, actor, key_id, role, reason, digests, until }) => {
          const sent = { id, kind, release_id, model, actor, key_id, role, reason, digests }
          return { ...sent, until_ms: until }
        }),
  ],
  e971a218: [
    'answerCommand',
    (query, [accepted, stage, message, id]) => {
      const answer = { accepted, stage, message, answered_at: query.clockMs, next_at: null, problem: null }
      change(query, id, (row) => (row['answered_at'] === null ? answer : undefined))
      return []
    },
  ],
  '717135b6': [
    'findAnswer',
    (query, [id, release]) => {
      const row = query.find('commands', id as string)
      if (row?.['release_id'] !== release || row?.['answered_at'] === null) return []
      const { accepted, stage, message } = row!
      return [{ accepted, stage, message }]
    },
  ],
  '98161eed': [
    'isEndedByUser',
    (query, [release]) =>
      ofRelease(query, release)
        .filter(
          (row) =>
            row['accepted'] === true && ['reject', 'abort', 'rollback'].includes(row['kind'] as string),
        )
        .map(() => ({})),
  ],
  '6f903fc5': [
    'claimDueCommands',
    (query, [limit, leaseMs, silence]) =>
      query
        .all('commands')
        .filter(
          ({ next_at, release_id, position }) =>
            next_at !== null &&
            (next_at as number) <= query.clockMs &&
            release_id !== null &&
            ofRelease(query, release_id).every(
              (earlier) =>
                (earlier['position'] as number) >= (position as number) ||
                earlier['next_at'] === null ||
                earlier['sent_at'] !== null,
            ),
        )
        .sort((a, b) => (a['position'] as number) - (b['position'] as number))
        .filter(({ id }) => isFree(query, id))
        .slice(0, limit as number)
        .flatMap((row) => {
          const { id, kind, release_id, model, sent_at, answered_at, at } = row
          const release = query.find('releases', release_id as string)
          if (release === undefined) return []
          query.put('commands', id as string, { ...row, next_at: later(query, leaseMs) })
          const { workflow_id, run_id, outcome } = release
          const isOld = (at as number) <= query.clockMs - 1_000 * (silence as number)
          const is_ignored = sent_at !== null && answered_at === null && isOld
          return [{ id, kind, release_id, model, workflow_id, run_id, outcome, is_ignored }]
        }),
  ],
  '881c9a70': [
    'deliverAnswered',
    (query, [id]) => {
      change(query, id, () => ({ next_at: query.clockMs }))
      return []
    },
  ],
  '02c235d5': [
    'markCommandSent',
    (query, [againMs, id]) => {
      change(query, id, ({ next_at, sent_at, times, answered_at }) => {
        if (next_at === null) return undefined
        const again = answered_at === null ? later(query, againMs) : null
        const sent = sent_at ?? query.clockMs
        return { sent_at: sent, times: (times as number) + 1, problem: null, next_at: again }
      })
      return []
    },
  ],
  '696bfecb': [
    'reschedule',
    (query, [problem, afterMs, id]) => {
      change(query, id, (row) =>
        row['answered_at'] === null ? { problem, next_at: later(query, afterMs) } : undefined,
      )
      return []
    },
  ],
}
