/** Fills an installation with models that serve, and with the traffic of their last ten minutes. */
import sql from 'sql-template-tag'
import type { Store } from '../../../store/postgres.ts'

/**
 * Adds `count` models `model-0001` …, each with a champion that is a copy of the first version, with drift and quality within their limits. One
 * in twenty has an open alert. Of more than 9,999, names would collide.
 */
export async function fillModels(store: Store, count: number): Promise<void> {
  const fill = (statement: string) => store.pool.query(statement)
  await fill(`create table fill as
    select i, 'model-' || lpad(i::text, 4, '0') as model, 'model-' || lpad(i::text, 4, '0') || '_v1.0.0' as version, old.version as old
    from generate_series(1, ${count}) as i, (select * from versions where not drill order by created_at limit 1) as old`)
  await fill(`insert into models (name, definition, code_digest)
    select fill.model, models.definition, 'c' from fill join versions on versions.version = old join models on models.name = versions.model`)
  await fill(`insert into snapshots (digest, model, as_of, rows, bytes, columns, source)
    select 'sha256:' || encode(sha256(version::bytea), 'hex'), model, now(), 1000, 100000, '{}', '{}' from fill`)
  await fill(`insert into trainings (id, model, snapshot_digest, seed, code_digest, dependencies_digest, status)
    select 't-' || version, model, 'sha256:' || encode(sha256(version::bytea), 'hex'), i, 'c', 'd', 'done' from fill`)
  await fill(`insert into evaluations (id, model, training_id, snapshot_digest, artifact_digest, verdict, report, report_digest)
    select 'e-' || version, model, 't-' || version, 'sha256:' || encode(sha256(version::bytea), 'hex'), 'a', 'better', '{}', 'r' from fill`)
  await fill(`insert into versions (version, model, major, minor, patch, artifact_digest, manifest, evaluation_id, training_id, lineage, created_by)
    select fill.version, fill.model, 1, 0, 0, artifact_digest, manifest, 'e-' || fill.version, 't-' || fill.version, lineage, 'bench'
    from fill join versions on versions.version = old`)
  await fill(
    `insert into champions (model, version, since) select model, version, now() - i * interval '1 hour' from fill`,
  )
  await fill(`insert into champion_history (model, version, cause, actor, reason, at)
    select model, version, 'promotion', 'bench', 'first', now() - i * interval '1 hour' from fill`)
  await fill(`insert into quality_judgements (model, version, from_at, to_at, level, report, inputs, policy, judge)
    select model, version, now() - interval '1 day', now(), 'held',
      jsonb_build_object('level', 'held', 'metric', 'auc', 'value', 0.6 + i % 100 / 500.0, 'reasons', '[]'::jsonb), '{}', '{}', 'bench' from fill`)
  await fill(`insert into drift_judgements (model, version, from_at, to_at, level, report, inputs, policy, judge)
    select model, version, now() - interval '1 hour', now(), 'stable', '{"features": []}', '{}', '{}', 'bench' from fill`)
  await fill(`insert into alerts (dedupe_key, model, severity, kind, message)
    select 'fill/' || model, model, 'warning', 'service_latency', 'The 99th percentile is 320 ms, at most 200 ms is allowed.'
    from fill where i % 20 = 0`)
  await fill('drop table fill')
}

/** Counts ten minutes of requests until now for every champion. Of `failing`, half failed in the last minute. */
export async function fillTraffic(store: Store, failing = ''): Promise<void> {
  await store.query(sql`delete from tick_counters where replica_id = 'fill'`)
  await store.query(sql`
    insert into tick_counters (model, replica_id, version, arm, tick, tick_ms, generation, requests, invalid)
    select model, 'fill', version, 'champion', now() - ago * interval '10 seconds', 10000, 1, 200 + 7 * ago % 50,
      case when model = ${failing} and ago <= 6 then 98 else 0 end
    from champions, generate_series(1, 60) as ago`)
}
