/** Implements the statements about keys and recent rollbacks for the in-memory Postgres. */
import type { Statements } from './statement.ts'

export const authorityStatements: Statements = {
  '96f25e91': ['readNow', (query) => [{ now: query.clockMs }]],
  f28ace20: [
    'findModel',
    (query, [name]) => {
      const row = query.find('models', name as string)
      return row ? [row] : []
    },
  ],
  e61c3c89: [
    'findActiveKeys',
    (query) =>
      query
        .all('api_keys')
        .filter(
          (row) =>
            row['revoked_at'] === null &&
            (row['expires_at'] === null || (row['expires_at'] as number) > query.nowMs),
        )
        .sort((a, b) => ((a['id'] as string) < (b['id'] as string) ? -1 : 1))
        .map(({ id, name, role, models, expires_at }) => ({
          id,
          name,
          role,
          models,
          hash: '',
          expires_at_ms: expires_at,
          previous: null,
          rate: null,
        })),
  ],
  e6a6bfd1: [
    'findRecentRollback',
    (query, [model]) => {
      const sinceMs = query.clockMs - 600_000
      const [changed] = query
        .all('champion_history')
        .filter((row) => row['model'] === model)
        .sort((one, other) => (other['id'] as number) - (one['id'] as number))
        .map((row) => ({ version: row['previous_version'], cause: row['cause'], at: row['at'] as number }))
      const taken = query
        .all('releases')
        .filter((row) => {
          const { routings, drill } = row['state'] as { routings: { stage: string }[]; drill?: string }
          return (
            row['model'] === model &&
            row['rolled_back_at'] !== null &&
            (row['rolled_back_at'] as number) > sinceMs &&
            ['rolled_back', 'aborted', 'failed'].includes(row['outcome'] as string) &&
            drill === undefined &&
            routings.some(({ stage }) => stage === 'targeted' || stage === 'canary')
          )
        })
        .map((row) => ({ version: row['version'], cause: 'rollback', at: row['rolled_back_at'] as number }))
      return (changed === undefined ? taken : [changed, ...taken])
        .sort((one, other) => other.at - one.at)
        .slice(0, 1)
        .filter(({ cause, at }) => cause === 'rollback' && at > sinceMs)
        .map(({ version }) => ({ version }))
    },
  ],
}
