-- Training data, trainings and evaluations of models, and what decides which training is tried.

create table snapshots (
  -- SHA-256 of the Parquet file.
  digest text primary key,
  model text not null references models (name) on delete cascade,
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
  model text not null references models (name) on delete cascade,
  snapshot_digest text not null references snapshots (digest),
  verdict text not null check (verdict in ('pass', 'warn', 'block')),
  report jsonb not null,
  created_at timestamptz not null default now()
);
create index validations_by_snapshot on validations (snapshot_digest, created_at);

create table trainings (
  id text primary key,
  model text not null references models (name) on delete cascade,
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
  -- The rounds of the model, up to its best one, as its library counts them. Null where the training does not tell.
  rounds integer,
  checkpoint_digest text,
  artifact_digest text,
  -- The training that the gate has judged, whose recipe this one repeats on all matured rows. No foreign key: a restore needs an order of the rows.
  refit_of text,
  -- How the refitted weights answer the test rows: {meanChange, maxChange, …}. It has an `issue` when they may not become a version.
  refit_check jsonb,
  attempts integer not null default 1,
  -- What the attempt that ended it took: {cpuMs, peakBytes, ms}. Null where it was not measured.
  usage jsonb,
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
  model text not null references models (name) on delete cascade,
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
create index evaluations_by_snapshot on evaluations (snapshot_digest);

create table sweeps (
  id text primary key,
  model text not null references models (name) on delete cascade,
  requested_by text not null,
  as_of timestamptz not null,
  -- The hyperparameters to try, and how.
  plan jsonb not null,
  snapshot_digest text references snapshots (digest),
  excluded_rows jsonb,
  -- The overrides that the validation rows have chosen. The retraining of the sweep is compared with them.
  winner jsonb,
  outcome text check (outcome in ('chosen', 'quarantined', 'failed', 'cancelled')),
  message text,
  -- What the last failed activity said: {message, code}. Removed when it succeeds.
  failure jsonb,
  started_at timestamptz not null default now(),
  ended_at timestamptz
);
create index sweeps_by_model on sweeps (model, started_at);
create index sweeps_by_snapshot on sweeps (snapshot_digest);

-- A training that is judged and leaves no version.
create table trials (
  id text primary key,
  model text not null references models (name) on delete cascade,
  -- The sweep that it belongs to; null for one of its own.
  sweep_id text,
  requested_by text not null,
  as_of timestamptz not null,
  overrides jsonb not null default '{}',
  -- The run of its workflow; a trial runs once.
  run_id text not null,
  -- Given by the sweep, or recorded by the activity that took it.
  snapshot_digest text references snapshots (digest),
  excluded_rows jsonb,
  training_id text not null unique,
  evaluation_id text,
  -- The primary metric on the validation rows of a sweep.
  score double precision,
  outcome text check (outcome in ('judged', 'scored', 'stopped', 'quarantined', 'failed', 'cancelled')),
  message text,
  started_at timestamptz not null default now(),
  ended_at timestamptz,
  -- The code of the error that has failed it, for its remedy.
  error_code text,
  -- What the last failed activity said: {message, code}. Removed when it succeeds.
  failure jsonb,
  -- Why its artifact is not new and was not evaluated.
  unchanged text
);
create index trials_by_model on trials (model, started_at);
create index trials_by_sweep on trials (sweep_id) where sweep_id is not null;
create index trials_by_snapshot on trials (snapshot_digest);
