-- Models, their training data, trainings, evaluations and versions.
-- In every table: time comes from the database, a state is a text with a check, and each write that may be repeated has a
-- key that makes the repetition harmless.

create table models (
  name text primary key,
  -- The model file as data: features, label, gates, release policy, schedule.
  definition jsonb not null,
  code_digest text not null,
  synced_at timestamptz not null default now()
);

create table snapshots (
  -- SHA-256 of the Parquet file.
  digest text primary key,
  model text not null references models (name),
  as_of timestamptz not null,
  rows bigint not null,
  bytes bigint not null,
  columns jsonb not null,
  source jsonb not null,
  created_at timestamptz not null default now(),
  -- When an erasure removed the file.
  dropped_at timestamptz
);
create index snapshots_by_creation on snapshots (created_at, digest);
create index snapshots_by_model on snapshots (model, created_at, digest);

create table validations (
  id text primary key,
  model text not null references models (name),
  snapshot_digest text not null references snapshots (digest),
  verdict text not null check (verdict in ('pass', 'warn', 'block')),
  report jsonb not null,
  created_at timestamptz not null default now()
);
create index validations_by_snapshot on validations (snapshot_digest, created_at);

create table trainings (
  id text primary key,
  model text not null references models (name),
  snapshot_digest text not null references snapshots (digest),
  seed bigint not null,
  code_digest text not null,
  -- Digest of all installed packages.
  dependencies_digest text not null,
  -- Package → version, with the interpreter.
  dependencies jsonb not null default '{}',
  -- The revision of the checkout that trained it.
  build_id text,
  hyperparameters jsonb not null default '{}',
  status text not null check (status in ('running', 'done', 'failed')),
  epoch integer not null default 0,
  -- One entry per epoch: {epoch, loss, …}.
  curve jsonb not null default '[]',
  checkpoint_digest text,
  artifact_digest text,
  attempts integer not null default 1,
  -- How often the training process ran out of memory. Limits the retries on other machines.
  memory_failures integer not null default 0,
  message text,
  started_at timestamptz not null default now(),
  ended_at timestamptz
);
create index trainings_by_start on trainings (started_at, id);
create index trainings_by_model_start on trainings (model, started_at, id);
create index trainings_by_snapshot on trainings (snapshot_digest text_pattern_ops);
create index trainings_by_artifact on trainings (artifact_digest);

create table evaluations (
  id text primary key,
  model text not null references models (name),
  training_id text not null references trainings (id),
  snapshot_digest text not null references snapshots (digest),
  artifact_digest text not null,
  -- The champion at the time of the evaluation; null for the first version of a model. No foreign key: versions refer to
  -- evaluations, and a restore needs an order of the tables.
  baseline_version text,
  verdict text not null check (verdict in ('better', 'not_worse', 'not_better', 'insufficient')),
  report jsonb not null,
  -- The inputs of the report: the anchor, the leakage checks, and how often these rows have decided before.
  inputs jsonb not null default '{}',
  -- The report in Markdown.
  page text not null default '',
  report_digest text not null,
  created_at timestamptz not null default now()
);
create index evaluations_by_training on evaluations (training_id);
create index evaluations_by_artifact on evaluations (artifact_digest);

create table versions (
  version text primary key,
  model text not null references models (name),
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
  unique (model, major, minor, patch),
  constraint versions_by_drill unique (version, drill),
  constraint versions_drill_is_never_known_good check (not drill or known_good_at is null)
);
create index versions_by_creation on versions (created_at, version);
create index versions_by_model_creation on versions (model, created_at, version);
create index versions_by_snapshot on versions ((lineage ->> 'snapshot') text_pattern_ops);
create index versions_by_artifact on versions (artifact_digest);

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

create table retrainings (
  -- The workflow id of the run: retrain/<model>/<run>.
  id text primary key,
  model text not null references models (name),
  reason text not null check (reason in ('schedule', 'manual', 'drift', 'quality', 'labels')),
  evidence jsonb not null default '{}',
  dedupe_key text,
  requested_by text not null,
  as_of timestamptz not null,
  outcome text check (outcome in
    ('released', 'registered', 'quarantined', 'not_better', 'insufficient', 'failed', 'cancelled', 'throttled')),
  message text,
  snapshot_digest text references snapshots (digest),
  version text references versions (version),
  started_at timestamptz not null default now(),
  ended_at timestamptz
);
create unique index retrainings_one_running on retrainings (model) where ended_at is null;
create index retrainings_by_model on retrainings (model, started_at);

-- Artifacts whose files were deleted to stay within the disk budget. Rows that name the digest remain. A training that
-- produces the same bytes restores the artifact.
create table deleted_artifacts (
  -- Digest of the manifest.
  digest text primary key,
  deleted_at timestamptz not null default now()
);
