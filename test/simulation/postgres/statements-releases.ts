/** Implements the statements about releases, champions, verdicts and the audit for the in-memory Postgres. */
import type { Query, Row } from '@tenure/simulator'
import { date, demand, insertOnce, parse, type Statements } from './statement.ts'

const change = (
  query: Query,
  table: string,
  key: string,
  holds: (row: Row) => boolean,
  next: (row: Row) => Row,
): boolean => {
  if (query.find(table, key) === undefined) return false
  query.lock(table, key)
  const row = query.find(table, key)
  if (row === undefined || !holds(row)) return false
  query.put(table, key, { ...row, ...next(row) })
  return true
}
const always = () => true

const releaseColumns = (row: Row): Row => ({
  state: row['state'],
  workflow_id: row['workflow_id'],
  run_id: row['run_id'],
  outcome: row['outcome'],
  reason: row['reason'],
  started_at: date(row['started_at']),
  updated_at: date(row['updated_at']),
  rolled_back_at: date(row['rolled_back_at']),
  ended_at: date(row['ended_at']),
})

const openOf = (query: Query, model: unknown): Row[] =>
  query.all('releases').filter((row) => row['model'] === model && row['ended_at'] === null)

const schemaOf = (query: Query, version: unknown): Row | null => {
  const row = query.find('versions', version as string)
  const { features = null, output = null } = (row?.['manifest'] ?? {}) as Row
  return row ? { features, output } : null
}

const versionColumns = [
  'version',
  'model',
  'major',
  'minor',
  'patch',
  'artifact_digest',
  'evaluation_id',
  'training_id',
  'lineage',
  'created_by',
  'signature',
  'manifest',
]

/** Orders versions by their numbers. */
const orderOf = (row: Row): number =>
  ['major', 'minor', 'patch'].reduce((sum, part) => sum * 1_000 + (row[part] as number), 0)

const changeRow = (row: Row): Row => ({ ...row, at: date(row['at']) })

const championOf = (query: Query, model: unknown): Row[] => {
  const row = query.find('champions', model as string)
  return row ? [{ version: row['version'], release_id: row['release_id'], since: date(row['since']) }] : []
}

export const releaseStatements: Statements = {
  '7366f9c2': ['findChampion', (query, [model]) => championOf(query, model)],
  '8084c84e': [
    'lockChampion',
    (query, [model]) => {
      if (query.find('champions', model as string) === undefined) return []
      query.lock('champions', model as string)
      return championOf(query, model)
    },
  ],
  '03aabc5f': [
    'moveChampion, first',
    (query, [model, version, release_id]) => {
      demand(query, 'versions', version)
      if (release_id !== null) demand(query, 'releases', release_id)
      return insertOnce(query, 'champions', model as string, {
        model,
        version,
        release_id,
        since: query.clockMs,
      })
        ? [{ model }]
        : []
    },
  ],
  '913d992b': [
    'moveChampion',
    (query, [version, release_id, model, from]) => {
      const moved = change(
        query,
        'champions',
        model as string,
        (row) => row['version'] === from,
        () => ({ version, release_id, since: query.clockMs }),
      )
      if (moved) {
        demand(query, 'versions', version)
        if (release_id !== null) demand(query, 'releases', release_id)
      }
      return moved ? [{ model }] : []
    },
  ],
  c4a3dc48: [
    'moveChampion, history',
    (query, [model, version, previous_version, release_id, cause, actor, reason]) => {
      demand(query, 'versions', version)
      const id = query.number('champion_history')
      query.put('champion_history', String(id), {
        id,
        model,
        version,
        previous_version,
        release_id,
        cause,
        actor,
        reason,
        at: query.clockMs,
      })
      return []
    },
  ],
  a2157fd6: [
    'listChampionHistory',
    (query, [model, limit]) =>
      query
        .all('champion_history')
        .filter((row) => row['model'] === model)
        .sort((one, other) => (other['id'] as number) - (one['id'] as number))
        .slice(0, limit as number)
        .map(changeRow),
  ],
  fb54583b: [
    'findRollbackTarget',
    (query, [live, model, from]) => {
      const last = new Map<unknown, number>()
      for (const row of query.all('champion_history'))
        if (row['model'] === model)
          last.set(row['version'], Math.max(last.get(row['version']) ?? 0, row['id'] as number))
      const { compression } = (query.find('versions', from as string)?.['lineage'] ?? {}) as Row
      const parent = (compression as Row | undefined)?.['version']
      return [...last]
        .sort(([one, a], [other, b]) => Number(other === parent) - Number(one === parent) || b - a)
        .map(([version]) => query.find('versions', version as string))
        .filter(
          (row) =>
            row !== undefined &&
            row['version'] !== from &&
            row['known_good_at'] !== null &&
            row['rolled_back_at'] === null,
        )
        .slice(0, 20)
        .map((row) => ({
          version: row!['version'],
          artifact_digest: row!['artifact_digest'],
          schema: schemaOf(query, row!['version']),
          now: schemaOf(query, live),
        }))
    },
  ],
  ae0e94e2: [
    'findIncompatibilities',
    (query, [versions]) =>
      (versions as string[])
        .filter((version) => query.find('versions', version) !== undefined)
        .map((version) => ({ version, schema: schemaOf(query, version) })),
  ],
  a1e59c42: [
    'markProven',
    (query, [version]) => {
      change(query, 'versions', version as string, always, (row) => ({
        known_good_at: row['known_good_at'] ?? query.clockMs,
        rolled_back_at: null,
      }))
      return []
    },
  ],
  '6b613023': [
    'markVersionRolledBack',
    (query, [version]) => {
      change(query, 'versions', version as string, always, (row) => ({
        rolled_back_at: row['rolled_back_at'] ?? query.clockMs,
      }))
      return []
    },
  ],
  f794bdb5: [
    'isRolledBack',
    (query, [model, version]) => {
      const { model: own, rolled_back_at = null } = query.find('versions', version as string) ?? {}
      return own === model && rolled_back_at !== null ? [{}] : []
    },
  ],
  '43faedb8': [
    'findLatestVersion',
    (query, [model]) =>
      query
        .all('versions')
        .filter((row) => row['model'] === model)
        .sort((one, other) => orderOf(other) - orderOf(one))
        .slice(0, 1)
        .map((row) => ({
          ...Object.fromEntries(versionColumns.map((name) => [name, row[name] ?? null])),
          created_at: date(row['created_at']),
          known_good_at: date(row['known_good_at']),
          rolled_back_at: date(row['rolled_back_at']),
        })),
  ],
  e64f19be: [
    'findReleasable',
    (query, [version]) => {
      const row = query.find('versions', version as string)
      const evaluation = row && query.find('evaluations', row['evaluation_id'] as string)
      const model = row && query.find('models', row['model'] as string)
      if (!row || !evaluation || !model) return []
      return [
        {
          version,
          model: row['model'],
          artifact_digest: row['artifact_digest'],
          snapshot_digest: (row['lineage'] as Row)['snapshot'],
          validation_id: (row['lineage'] as Row)['validationId'],
          training_id: row['training_id'],
          evaluation_id: row['evaluation_id'],
          evaluation_digest: evaluation['report_digest'],
          evaluated_against: evaluation['baseline_version'],
          withdrawn: row['rolled_back_at'] !== null,
          proven: row['known_good_at'] !== null,
          drill: row['drill'],
          lineage: row['lineage'],
          policy: (model['definition'] as Row)['release'] ?? null,
        },
      ]
    },
  ],
  d267c000: [
    'readMaking',
    (query, [validationId, trainingId, evaluationId, refitId]) => {
      const refit = query.find('trainings', refitId as string)
      const isRefit = refit !== undefined && refit['refit_of'] === trainingId
      const check = refit?.['refit_check'] as Row | null | undefined
      const [validation, training, evaluation] = [
        query.find('validations', validationId as string),
        query.find('trainings', trainingId as string),
        query.find('evaluations', evaluationId as string),
      ]
      return [
        {
          'validation.model': validation?.['model'] ?? null,
          'validation.snapshot_digest': validation?.['snapshot_digest'] ?? null,
          'validation.verdict': validation?.['verdict'] ?? null,
          'training.model': training?.['model'] ?? null,
          'training.snapshot_digest': training?.['snapshot_digest'] ?? null,
          'training.status': training?.['status'] ?? null,
          'training.artifact_digest': training?.['artifact_digest'] ?? null,
          'evaluation.model': evaluation?.['model'] ?? null,
          'evaluation.snapshot_digest': evaluation?.['snapshot_digest'] ?? null,
          'evaluation.artifact_digest': evaluation?.['artifact_digest'] ?? null,
          'evaluation.verdict': evaluation?.['verdict'] ?? null,
          'evaluation.is_of_training':
            evaluation && training ? evaluation['training_id'] === training['id'] : null,
          'refit.model': isRefit ? refit['model'] : null,
          'refit.status': isRefit ? refit['status'] : null,
          'refit.artifact_digest': isRefit ? (refit['artifact_digest'] ?? null) : null,
          'refit.is_checked': isRefit ? check != null && !('issue' in check) : null,
        },
      ]
    },
  ],
  '2048dbd5': [
    'insertRelease',
    (query, values) => {
      const [
        id,
        model,
        version,
        baseline_version,
        strategy,
        policy,
        policy_digest,
        evaluation_digest,
        artifact_digest,
      ] = values
      const [requested_by, workflow_id, run_id, stage, state] = values.slice(9)
      query.lock('releases', id as string)
      query.lock('releases_one_open', model as string)
      if (query.find('releases', id as string) !== undefined || openOf(query, model).length > 0) return []
      query.put('releases', id as string, {
        id,
        model,
        version,
        baseline_version,
        strategy,
        policy: parse(policy),
        policy_digest,
        evaluation_digest,
        artifact_digest,
        requested_by,
        workflow_id,
        run_id,
        stage,
        stage_index: 0,
        share_bp: 0,
        paused: false,
        state: parse(state),
        outcome: null,
        reason: null,
        started_at: query.nowMs,
        updated_at: query.nowMs,
        rolled_back_at: null,
        ended_at: null,
      })
      return [{ id }]
    },
  ],
  '112912fc': ['insertRelease, other', (query, [model]) => openOf(query, model).map(({ id }) => ({ id }))],
  '1bbc2228': [
    'saveRelease',
    (query, [stage, stage_index, share_bp, paused, evaluation_digest, state, id]) => {
      change(
        query,
        'releases',
        id as string,
        (row) => row['ended_at'] === null,
        () => ({
          stage,
          stage_index,
          share_bp,
          paused,
          evaluation_digest,
          state: parse(state),
          updated_at: query.clockMs,
        }),
      )
      return []
    },
  ],
  '3bb0adca': [
    'recordEnd',
    (query, [stage_index, share_bp, state, outcome, reason, id]) =>
      change(
        query,
        'releases',
        id as string,
        (row) => row['ended_at'] === null,
        () => ({
          stage: 'ended',
          stage_index,
          share_bp,
          paused: false,
          state: parse(state),
          outcome,
          reason,
          updated_at: query.clockMs,
          ended_at: query.clockMs,
        }),
      )
        ? [{ id }]
        : [],
  ],
  '357375b0': [
    'lockRelease',
    (query, [id]) => {
      if (query.find('releases', id as string) === undefined) return []
      query.lock('releases', id as string)
      const row = query.find('releases', id as string)
      return row === undefined ? [] : [releaseColumns(row)]
    },
  ],
  '1ebae81d': [
    'markRolledBack',
    (query, [id]) =>
      change(
        query,
        'releases',
        id as string,
        (row) => row['ended_at'] === null,
        (row) => ({ rolled_back_at: row['rolled_back_at'] ?? query.clockMs }),
      )
        ? [{ id }]
        : [],
  ],
  a415bf6d: [
    'findRelease',
    (query, [id]) => {
      const row = query.find('releases', id as string)
      return row ? [releaseColumns(row)] : []
    },
  ],
  '817b1d78': [
    'listReleasesOfVersion',
    (query, [version]) =>
      query
        .all('releases')
        .filter((row) => row['version'] === version)
        .sort(
          (one, other) =>
            (other['started_at'] as number) - (one['started_at'] as number) ||
            ((one['id'] as string) < (other['id'] as string) ? 1 : -1),
        )
        .slice(0, 20)
        .map(releaseColumns),
  ],
  '72911a80': ['findOpenRelease', (query, [model]) => openOf(query, model).map(releaseColumns)],
  '809baac4': [
    'appendAudit, lock',
    (query) => {
      query.lock('advisory', 'audit')
      return [{ pg_advisory_xact_lock: '' }]
    },
  ],
  f743dda6: [
    'appendAudit, last',
    (query) => {
      const last = query.find('audit', 'last')
      return [{ seq: last?.['seq'] ?? null, hash: last?.['hash'] ?? null, at: date(query.clockMs) }]
    },
  ],
  b2c9c91c: [
    'appendAudit',
    (query, [seq, at, actor, action, subject, model, detail, previous_hash, hash, , channel]) => {
      const row = { seq, at, actor, action, subject, model, detail: parse(detail), previous_hash, hash }
      if (!insertOnce(query, 'audit', String(seq), row))
        throw Object.assign(new Error('duplicate key: audit_pkey'), { code: '23505' })
      query.put('audit', 'last', row)
      query.notify(channel as string, '')
      return [{ pg_notify: '' }]
    },
  ],
  '9911e3f0': [
    'listAudit',
    (query, [action, subject, limit]) => {
      const rows = query.all('audit').filter((row) => row['action'] === action && row['subject'] === subject)
      return [...new Set(rows)]
        .sort((a, b) => (b['seq'] as number) - (a['seq'] as number))
        .slice(0, limit as number)
        .map((row) => ({ ...row, signature: null }))
    },
  ],
  '01207dd8': ['findQueued, of none', () => []],
  cced4734: ['findQueued, of none', () => []],
  '21a8fadd': [
    'insertDecision',
    (
      query,
      [release_id, stage, stage_index, kind, reasons, statistics, inputs, judge, policy_digest, evidence],
    ) => {
      demand(query, 'releases', release_id)
      // The foreign key waits for a transaction that has locked the release for an update.
      query.lock('releases', release_id as string)
      const id = query.number('decisions')
      query.put('decisions', String(id), {
        id,
        release_id,
        stage,
        stage_index,
        kind,
        reasons: parse(reasons),
        statistics: parse(statistics),
        inputs: parse(inputs),
        judge,
        policy_digest,
        evidence: evidence === null ? null : parse(evidence),
        at: query.clockMs,
      })
      return [{ id }]
    },
  ],
  '3e90370f': [
    'listDecisions',
    (query, [release, limit]) =>
      query
        .all('decisions')
        .filter((row) => row['release_id'] === release)
        .sort((a, b) => (b['id'] as number) - (a['id'] as number))
        .slice(0, limit as number)
        .map(({ evidence: _evidence, ...row }) => changeRow(row)),
  ],
  '4feeb456': [
    'findFailVerdict',
    (query, [release]) =>
      query
        .all('decisions')
        .filter((row) => row['release_id'] === release && row['kind'] === 'fail')
        .sort((a, b) => (b['id'] as number) - (a['id'] as number))
        .slice(0, 1)
        .map(({ kind, reasons, statistics, judge }) => ({ kind, reasons, statistics, judge })),
  ],
  fb6638ea: [
    'recordObservation',
    (query, [release_id, stage, stage_index, paused, maxGapMs]) => {
      demand(query, 'releases', release_id)
      const key = `${release_id as string} ${stage as string} ${stage_index as number}`
      query.lock('stage_clocks', key)
      const known = query.find('stage_clocks', key)
      const observed_at = query.clockMs
      const added =
        !known || known['paused'] === true || paused === true
          ? 0
          : Math.max(0, Math.min(observed_at - (known['observed_at'] as number), maxGapMs as number))
      const watched_ms = ((known?.['watched_ms'] as number | undefined) ?? 0) + added
      query.put('stage_clocks', key, { release_id, stage, stage_index, paused, observed_at, watched_ms })
      return [{ watched_ms, observed_ms: observed_at }]
    },
  ],
  '3ae00b73': [
    'recordObservation, kept',
    (query, [release, stage, index]) => {
      const row = query.find('stage_clocks', `${release as string} ${stage as string} ${index as number}`)
      return row ? [{ watched_ms: row['watched_ms'], observed_ms: row['observed_at'] }] : []
    },
  ],
  '5b3b6034': ['insertNotice, not read here', () => []],
  db0973df: [
    'upsertAlert',
    (query, [dedupe_key, model, severity, kind, message, evidence]) => {
      query.lock('alerts', dedupe_key as string)
      const known = query.find('alerts', dedupe_key as string)
      const id = known?.['id'] ?? query.number('alerts')
      query.put('alerts', dedupe_key as string, {
        ...known,
        id,
        dedupe_key,
        model,
        severity,
        kind,
        message,
        evidence: parse(evidence),
      })
      return [{ id }]
    },
  ],
  be1e8f33: [
    'rejectQueued',
    (query, [message, release_id, , turn]) => {
      for (const row of query.all('release_queue')) {
        const isStarted = row['release_id'] === release_id && row['state'] === 'started'
        if (!isStarted && !(row['id'] === turn && row['state'] === 'waiting')) continue
        const ended_at = row['ended_at'] ?? query.clockMs
        change(query, 'release_queue', String(row['id']), always, () => ({
          state: 'refused',
          message,
          release_id,
          ended_at,
        }))
      }
      return []
    },
  ],
  '7108335e': [
    'findArtifact',
    (query, [name]) => {
      const row = query.find('versions', name as string)
      if (!row) return []
      const { version, model, artifact_digest: artifactDigest, signature = null } = row
      return [{ version, model, artifactDigest, signature }]
    },
  ],
}
