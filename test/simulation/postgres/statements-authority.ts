/** Implements the statements about facts, signed commands and verdicts for the in-memory Postgres. */
import type { Row } from './database.ts'
import type { Statements } from './statement.ts'

export const authorityStatements: Statements = {
  '96f25e91': ['readNow', (query) => [{ now: query.clockMs }]],
  a22d2b17: [
    'findReleaseRecord',
    (query, [id]) => {
      const row = query.find('releases', id as string)
      if (row === undefined) return []
      const { facts, artifact_digest, policy_digest } = row
      return [{ facts, artifact_digest, policy_digest, rolled_back: row['rolled_back_at'] !== null }]
    },
  ],
  '63043fc5': [
    'listStatements',
    (query, [release]) =>
      query
        .all('release_commands')
        .filter((row) => row['release_id'] === release && row['accepted'] === true && row['sent'] !== null)
        .sort(
          (a, b) =>
            (a['at'] as number) - (b['at'] as number) || ((a['id'] as string) < (b['id'] as string) ? -1 : 1),
        )
        .flatMap(({ command, sent, at }) => {
          const key = query.find('api_keys', ((sent as Row)['signature'] as string).split('.')[0]!)
          if (key === undefined) return []
          const isBefore = (end: unknown) => end === null || (end as number) > (at as number)
          return [
            {
              command,
              sent,
              at_ms: at,
              key: key['id'],
              name: key['name'],
              role: key['role'],
              models: key['models'],
              is_active: isBefore(key['revoked_at']) && isBefore(key['expires_at']),
            },
          ]
        }),
  ],
  '6ac826a0': [
    'listStageVerdicts',
    (query, [release]) => {
      const groups = new Map<string, Row>()
      for (const { release_id, stage, stage_index, kind, id, at } of query.all('decisions')) {
        if (release_id !== release) continue
        const name = `${stage as string}/${stage_index as number}`
        const known = groups.get(name)
        groups.set(name, {
          stage,
          stage_index,
          passed: known?.['passed'] === true || kind === 'pass',
          last: Math.max((known?.['last'] as number | undefined) ?? 0, id as number),
          first_ms: Math.min((known?.['first_ms'] as number | undefined) ?? Infinity, at as number),
        })
      }
      return [...groups.values()]
    },
  ],
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
