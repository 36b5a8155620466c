-- What Tenure keeps. Time comes from the database; states are text with a check; every write that may be
-- repeated has a key that makes the repetition harmless.

create table epochs (
  -- Raised when a database is restored from a backup: replicas compare (epoch, generation).
  epoch bigint primary key,
  reason text not null,
  at timestamptz not null default now()
);
insert into epochs (epoch, reason) values (1, 'created');

create table api_keys (
  id text primary key,
  name text not null,
  -- SHA-256 of the secret; the secret itself is shown once and never stored.
  hash bytea not null unique,
  role text not null check (role in ('viewer', 'predictor', 'operator', 'approver', 'admin')),
  -- The models this key may touch; all of them when null.
  models text[],
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz
);
create unique index api_keys_active_name on api_keys (name) where revoked_at is null;

create table models (
  name text primary key,
  -- The model file as data: features, label, gates, release policy, schedule.
  definition jsonb not null,
  code_digest text not null,
  synced_at timestamptz not null default now()
);

create table retrainings (
  -- The workflow id of the run: retrain/<model>/<run>.
  id text primary key,
  model text not null references models (name),
  reason text not null check (reason in ('schedule', 'manual', 'drift', 'quality', 'labels')),
  evidence jsonb not null default '{}',
  dedupe_key text,
  requested_by text not null,
  as_of timestamptz not null,
  outcome text check (outcome in ('released', 'registered', 'quarantined', 'not_better', 'insufficient', 'failed', 'cancelled', 'braked')),
  message text,
  snapshot_digest text,
  version text,
  started_at timestamptz not null default now(),
  ended_at timestamptz
);
create unique index retrainings_one_running on retrainings (model) where ended_at is null;

create table snapshots (
  -- SHA-256 of the Parquet file.
  digest text primary key,
  model text not null references models (name),
  as_of timestamptz not null,
  rows bigint not null,
  bytes bigint not null,
  columns jsonb not null,
  source jsonb not null,
  created_at timestamptz not null default now()
);

create table validations (
  id text primary key,
  model text not null references models (name),
  snapshot_digest text not null references snapshots (digest),
  verdict text not null check (verdict in ('pass', 'warn', 'block')),
  report jsonb not null,
  created_at timestamptz not null default now()
);

create table trainings (
  id text primary key,
  model text not null references models (name),
  snapshot_digest text not null references snapshots (digest),
  seed bigint not null,
  code_digest text not null,
  dependencies_digest text not null,
  hyperparameters jsonb not null default '{}',
  status text not null check (status in ('running', 'done', 'failed')),
  epoch integer not null default 0,
  -- One entry an epoch: {epoch, loss, …}.
  curve jsonb not null default '[]',
  checkpoint_digest text,
  artifact_digest text,
  attempts integer not null default 1,
  message text,
  started_at timestamptz not null default now(),
  ended_at timestamptz
);

create table evaluations (
  id text primary key,
  model text not null references models (name),
  training_id text not null references trainings (id),
  snapshot_digest text not null references snapshots (digest),
  artifact_digest text not null,
  -- The live champion it was compared with; null for the first version of a model.
  baseline_version text,
  verdict text not null check (verdict in ('better', 'not_worse', 'not_better', 'insufficient')),
  report jsonb not null,
  -- What the report rests on: the anchor, the leaks that were looked for, how often these rows have decided before.
  inputs jsonb not null default '{}',
  -- The report as a page to read, in Markdown.
  page text not null default '',
  report_digest text not null,
  created_at timestamptz not null default now()
);

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
  created_by text not null,
  created_at timestamptz not null default now(),
  -- When a release of it ended as promoted: it may then be a rollback target.
  proven_at timestamptz,
  -- When it was rolled back: it is then never a target again.
  withdrawn_at timestamptz,
  unique (model, major, minor, patch)
);

create table releases (
  id text primary key,
  model text not null references models (name),
  version text not null references versions (version),
  baseline_version text references versions (version),
  strategy text not null,
  policy jsonb not null,
  policy_digest text not null,
  evaluation_digest text not null,
  artifact_digest text not null,
  requested_by text not null,
  workflow_id text not null,
  run_id text not null,
  stage text not null check (stage in
    ('qualifying', 'awaiting_approval', 'shadow', 'canary', 'awaiting_decision', 'promoting', 'probation', 'rolling_back', 'ended')),
  stage_index integer not null default 0,
  share_bp integer not null default 0,
  paused boolean not null default false,
  -- The whole state of the machine, as the workflow last wrote it.
  state jsonb not null,
  outcome text check (outcome in ('promoted', 'rolled_back', 'rejected', 'expired', 'aborted', 'superseded', 'failed')),
  reason text,
  started_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  -- Set with the order to take the candidate back: from then on nothing may route or promote it for this release.
  taken_back_at timestamptz,
  ended_at timestamptz,
  check ((outcome is null) = (ended_at is null))
);
create unique index releases_one_open on releases (model) where ended_at is null;
create index releases_by_model on releases (model, started_at desc);

create table release_commands (
  -- Update id, or the id the sender gave; the same id twice is one command.
  id text primary key,
  release_id text not null references releases (id),
  command text not null,
  actor text not null,
  reason text,
  accepted boolean not null,
  message text not null,
  stage text not null,
  at timestamptz not null default now()
);

create table decisions (
  id bigint generated always as identity primary key,
  release_id text not null references releases (id),
  stage text not null,
  stage_index integer not null,
  kind text not null check (kind in ('pass', 'fail', 'inconclusive', 'no_data', 'error')),
  reasons jsonb not null,
  statistics jsonb not null,
  inputs jsonb not null,
  judge text not null,
  policy_digest text not null,
  at timestamptz not null default now()
);
create index decisions_by_release on decisions (release_id, id);

-- How long each stage has been watched: the clock of the stage. It runs only from look to look, so that the time in
-- which nobody watched shortens no window.
create table watches (
  release_id text not null references releases (id),
  stage text not null,
  stage_index integer not null,
  watched_ms double precision not null default 0,
  -- Whether the clock was stopped by a person at the last look.
  holding boolean not null,
  looked_at timestamptz not null,
  primary key (release_id, stage, stage_index)
);

-- At most one champion per model, at every instant.
create table champions (
  model text primary key references models (name),
  version text not null references versions (version),
  release_id text references releases (id),
  since timestamptz not null default now()
);

create table champion_history (
  id bigint generated always as identity primary key,
  model text not null references models (name),
  version text not null references versions (version),
  previous_version text,
  release_id text,
  cause text not null check (cause in ('promotion', 'rollback')),
  actor text not null,
  reason text not null,
  at timestamptz not null default now()
);
create index champion_history_by_model on champion_history (model, at);

create table routing (
  model text primary key references models (name),
  epoch bigint not null,
  generation bigint not null,
  route jsonb not null,
  -- The candidate is exposed until then; null when the route has no candidate.
  exposed_until timestamptz,
  updated_at timestamptz not null default now()
);

create table replicas (
  id text primary key,
  host text not null,
  pid integer not null,
  url text not null,
  build_id text not null,
  started_at timestamptz not null default now(),
  lease_until timestamptz not null
);

create table acknowledgements (
  replica_id text not null references replicas (id) on delete cascade,
  model text not null,
  epoch bigint not null,
  generation bigint not null,
  -- Why the replica could not follow, when it could not.
  problem text,
  at timestamptz not null default now(),
  primary key (replica_id, model)
);

-- Counters are absolute for their key, so that writing one twice changes nothing.
create table tick_counters (
  model text not null,
  release_id text not null default '',
  replica_id text not null,
  version text not null,
  arm text not null check (arm in ('canary', 'champion', 'control', 'shadow')),
  tick timestamptz not null,
  tick_ms integer not null,
  generation bigint not null,
  requests bigint not null,
  errors bigint not null default 0,
  invalid bigint not null default 0,
  slow95 bigint not null default 0,
  slow99 bigint not null default 0,
  -- Upper bounds in microseconds → counts, for people and for the quantiles of the time before a release.
  latency jsonb not null default '{}',
  flushed_at timestamptz not null default now(),
  primary key (model, release_id, version, arm, tick, replica_id, generation)
);
create index tick_counters_by_time on tick_counters (model, tick);

-- How often the values of each feature, and the scores, fell into each bin of the version's reference profile, by the
-- hour. Serving keeps nothing else of its inputs for drift; counts of several replicas and hours add up. Absolute like
-- the counters.
create table feature_counts (
  model text not null,
  version text not null,
  hour timestamptz not null,
  -- What is counted: a feature by its name, or what the network answered.
  kind text not null check (kind in ('feature', 'score')),
  name text not null,
  replica_id text not null,
  counts bigint[] not null,
  flushed_at timestamptz not null default now(),
  primary key (model, version, hour, kind, name, replica_id)
);

-- What the drift judge said of a window of serving, or of the outcomes of one, with the counts it had.
create table drift_judgements (
  id bigint generated always as identity primary key,
  model text not null references models (name),
  version text not null references versions (version),
  subject text not null default 'served' check (subject in ('served', 'label')),
  from_at timestamptz not null,
  to_at timestamptz not null,
  level text not null check (level in ('stable', 'warn', 'alarm', 'insufficient', 'unreadable')),
  report jsonb not null,
  inputs jsonb not null,
  policy jsonb not null,
  judge text not null,
  at timestamptz not null default now(),
  -- The same window is judged once.
  unique (model, version, subject, from_at, to_at)
);

-- What was said of a version's quality in use, on the outcomes of a window that have had the time to come.
create table quality_judgements (
  id bigint generated always as identity primary key,
  model text not null references models (name),
  version text not null references versions (version),
  from_at timestamptz not null,
  to_at timestamptz not null,
  level text not null check (level in ('held', 'lost', 'insufficient')),
  report jsonb not null,
  inputs jsonb not null,
  policy jsonb not null,
  judge text not null,
  at timestamptz not null default now(),
  unique (model, version, from_at, to_at)
);

-- What is said of a window of serving before its outcomes come: the quality to be expected of its answers, and whether
-- they are what training would have answered. People are told; nothing is decided by it.
create table serving_judgements (
  id bigint generated always as identity primary key,
  kind text not null check (kind in ('estimate', 'skew')),
  model text not null references models (name),
  version text not null references versions (version),
  from_at timestamptz not null,
  to_at timestamptz not null,
  verdict text not null,
  statistic jsonb not null,
  inputs jsonb not null,
  policy jsonb not null,
  judge text not null,
  at timestamptz not null default now(),
  unique (kind, model, version, from_at, to_at)
);

-- Shadow answers compared with the answer that was given: pairs for the paired judge.
create table shadow_pairs (
  model text not null,
  release_id text not null,
  prediction_id uuid not null,
  served_version text not null,
  shadow_version text not null,
  served jsonb not null,
  shadow jsonb not null,
  difference double precision,
  at timestamptz not null default now(),
  primary key (release_id, prediction_id)
);

-- One row a request: the instances of one request share arm, version, routing key and latency.
create table predictions (
  -- The id of the first instance's prediction (UUID v7); the ids of the others count on in the last two bytes.
  id uuid not null,
  at timestamptz not null,
  model text not null,
  version text not null,
  arm text not null,
  release_id text,
  generation bigint not null,
  routing_key text,
  instances integer not null,
  -- What was asked, to seven digits: the number features as 32-bit floats, row by row, least byte first (NaN for null), then
  -- the others, row by row, each as four bytes of length, least first, and UTF-8 (all ones for null). The order is that of
  -- `preprocessing` in the manifest; instance_of reads it. A batch as JSON costs three times the ingest and twice the room.
  features bytea not null,
  -- What the network gave, instance by instance.
  outputs real[] not null,
  latency_us integer not null,
  primary key (id, at)
) partition by range (at);
create table predictions_default partition of predictions default;
-- Large batches go out of line as they are: compressing them costs more than storing them; a row of some kilobytes stays whole.
alter table predictions_default alter column features set storage external, alter column outputs set storage external;
alter table predictions_default set (toast_tuple_target = 8160);
create index predictions_by_version on predictions (model, version, at);

-- The id under which a prediction's request is kept.
create function request_of(prediction_id uuid) returns uuid language sql immutable strict parallel safe
  return encode(overlay(uuid_send(prediction_id) placing '\x0000'::bytea from 15 for 2), 'hex')::uuid;

-- Its place among the instances of the request, from 0.
create function place_of(prediction_id uuid) returns integer language sql immutable strict parallel safe
  return get_byte(uuid_send(prediction_id), 14) * 256 + get_byte(uuid_send(prediction_id), 15);

-- A 32-bit float of `features`; null for NaN.
create function float_at(features bytea, at integer) returns real language sql immutable strict parallel safe return (
  select case
    when exponent = 255 then null
    when exponent = 0 then sign * mantissa * power(2::double precision, -149)
    else sign * (8388608 + mantissa) * power(2::double precision, exponent - 150)
  end::real
  from (
    select 1 - 2 * (get_byte(features, at + 3) >> 7) as sign,
      (get_byte(features, at + 3) & 127) * 2 + (get_byte(features, at + 2) >> 7) as exponent,
      ((get_byte(features, at + 2) & 127) << 16) + (get_byte(features, at + 1) << 8) + get_byte(features, at) as mantissa
  ) as bits);

-- The instance at a place of a request, from 0, as {"feature": value}; `fits` is `preprocessing` of the version's manifest.
create function instance_of(features bytea, fits jsonb, instances integer, place integer) returns jsonb
language plpgsql immutable strict parallel safe as $$
declare
  numbers integer := (select count(*) from jsonb_array_elements(fits) as fit where fit ->> 'kind' = 'number');
  texts integer := jsonb_array_length(fits) - numbers;
  number_at integer := place * numbers * 4;
  text_at integer := instances * numbers * 4;
  length bigint;
  fit jsonb;
  found jsonb := '{}';
begin
  for skipped in 1 .. place * texts loop
    length := get_byte(features, text_at) + (get_byte(features, text_at + 1) << 8) + (get_byte(features, text_at + 2) << 16)
      + (get_byte(features, text_at + 3)::bigint << 24);
    text_at := text_at + 4 + case length when 4294967295 then 0 else length end;
  end loop;
  for fit in select * from jsonb_array_elements(fits) loop
    if fit ->> 'kind' = 'number' then
      found := found || jsonb_build_object(fit ->> 'name', float_at(features, number_at));
      number_at := number_at + 4;
    else
      length := get_byte(features, text_at) + (get_byte(features, text_at + 1) << 8) + (get_byte(features, text_at + 2) << 16)
        + (get_byte(features, text_at + 3)::bigint << 24);
      found := found || jsonb_build_object(fit ->> 'name', case length when 4294967295 then null
        else convert_from(substr(features, text_at + 5, length::integer), 'UTF8') end);
      text_at := text_at + 4 + case length when 4294967295 then 0 else length end;
    end if;
  end loop;
  return found;
end $$;

create table outcomes (
  id bigint generated always as identity primary key,
  prediction_id uuid not null,
  -- Joins predictions.id; the answer is in outputs from place * width + 1.
  request_id uuid not null generated always as (request_of(prediction_id)) stored,
  value jsonb not null,
  observed_at timestamptz not null,
  arrived_at timestamptz not null default now(),
  source text not null default 'api',
  -- A later value for the same prediction is a further row; the highest revision counts.
  revision integer not null default 1,
  unique (prediction_id, revision)
);
create index outcomes_by_request on outcomes (request_id);

create table alerts (
  id bigint generated always as identity primary key,
  dedupe_key text not null,
  model text,
  severity text not null check (severity in ('info', 'warning', 'critical')),
  kind text not null,
  message text not null,
  evidence jsonb not null default '{}',
  raised_at timestamptz not null default now(),
  acknowledged_at timestamptz,
  acknowledged_by text,
  resolved_at timestamptz
);
create unique index alerts_open on alerts (dedupe_key) where resolved_at is null;

-- Hash-chained: each row's hash covers its content and the hash before it.
create table audit (
  seq bigint primary key,
  at timestamptz not null,
  actor text not null,
  action text not null,
  subject text not null,
  model text,
  detail jsonb not null,
  previous_hash bytea not null,
  hash bytea not null
);

create table service_state (
  name text primary key,
  value jsonb not null,
  at timestamptz not null default now()
);
