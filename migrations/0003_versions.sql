-- Versions of models, their metrics, and artifacts that were deleted.

create table versions (
  version text primary key,
  model text not null references models (name) on delete cascade,
  major integer not null,
  minor integer not null,
  patch integer not null,
  -- Digest of the manifest, which names every other file by digest.
  artifact_digest text not null,
  manifest jsonb not null,
  evaluation_id text not null references evaluations (id),
  training_id text not null references trainings (id) unique,
  lineage jsonb not null,
  -- Ed25519 over name, model and manifest digest. Replicas refuse a version without a signature.
  signature bytea,
  -- Made for a drill. Such a version never becomes known good, and a foreign key keeps it out of `champions`.
  drill boolean not null default false,
  created_by text not null,
  created_at timestamptz not null default now(),
  -- When a release of it ended as promoted. From then on it may be a rollback target.
  known_good_at timestamptz,
  -- When it was rolled back. From then on it is never a rollback target.
  rolled_back_at timestamptz,
  -- The last load test: {id, requestedBy, at, report or message}. Null without one.
  load_test jsonb,
  unique (model, major, minor, patch),
  constraint versions_by_drill unique (version, drill),
  constraint versions_drill_is_never_known_good check (not drill or known_good_at is null)
);
create index versions_by_creation on versions (created_at, version);
create index versions_by_model_creation on versions (model, created_at, version);
create index versions_by_snapshot on versions ((lineage ->> 'snapshot') text_pattern_ops);
create index versions_by_artifact on versions (artifact_digest);
create index versions_by_evaluation on versions (evaluation_id);

-- The metrics of each version as rows, so that a search over ten thousand versions uses an index.
create table version_metrics (
  version text not null references versions (version) on delete cascade,
  metric text not null,
  value double precision not null,
  primary key (version, metric)
);
create index version_metrics_by_value on version_metrics (metric, value, version);

-- Trigger versions_insert_metrics: copies `lineage.metrics` of a new version. A metric that is not a number has no row.
create function insert_version_metrics() returns trigger language plpgsql as $$
begin
  insert into version_metrics (version, metric, value)
    select new.version, key, value::double precision
    from jsonb_each(case jsonb_typeof(new.lineage -> 'metrics') when 'object' then new.lineage -> 'metrics' else '{}' end)
    where jsonb_typeof(value) = 'number'
    on conflict (version, metric) do update set value = excluded.value;
  return null;
end $$;
create trigger versions_insert_metrics after insert on versions for each row execute function insert_version_metrics();

-- Trigger versions_insert_fields: adds the features of a version, and the fields by which they are looked up.
create function insert_version_fields() returns trigger language plpgsql as $$
begin
  perform insert_request_fields(new.model, new.manifest -> 'features');
  return null;
end $$;
create trigger versions_insert_fields after insert on versions for each row execute function insert_version_fields();

-- Artifacts whose files were deleted to stay within the disk budget. Rows that name the digest remain. A training that
-- produces the same bytes restores the artifact.
create table deleted_artifacts (
  -- Digest of the manifest.
  digest text primary key,
  deleted_at timestamptz not null default now()
);
