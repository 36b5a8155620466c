-- What a release is judged by: counters of served requests, pairs of a shadow, events of users, and readings of other systems.

-- Counters are absolute for their key, so that storing one twice changes nothing.
create table tick_counters (
  model text not null,
  release_id text not null default '',
  replica_id text not null,
  version text not null,
  arm text not null check (arm in ('canary', 'champion', 'control', 'shadow', 'targeted')),
  tick timestamptz not null,
  tick_ms integer not null,
  generation bigint not null,
  requests bigint not null,
  errors bigint not null default 0,
  invalid bigint not null default 0,
  slow95 bigint not null default 0,
  slow99 bigint not null default 0,
  -- Callers with at least one failure in the ten seconds of the tick: the retries of one caller count once.
  failed_callers bigint not null default 0,
  -- Further requests of those callers in these ten seconds, which say nothing new about the version.
  repeats bigint not null default 0,
  -- Upper bounds in microseconds → counts, for charts and for the latency quantiles before a release.
  latency jsonb not null default '{}',
  flushed_at timestamptz not null default now(),
  -- Routing keys with their first request to the arm in this generation.
  keys bigint,
  -- How many of those keys got each answer, in the bins that the baseline fixes.
  answers bigint[],
  -- Whether the circuit breaker of the replica has dropped the candidate.
  breaker_open boolean not null default false,
  primary key (model, release_id, version, arm, tick, replica_id, generation)
);
create index tick_counters_by_time on tick_counters (model, tick);
create index tick_counters_by_tick on tick_counters using brin (tick);

-- Counts per hour and bin of the version's reference profile, for each feature and for the scores. These are all that serving
-- keeps of its inputs for drift. Counts are absolute for their key; counts of several replicas and hours add up.
create table feature_counts (
  model text not null,
  version text not null,
  hour timestamptz not null,
  -- `feature`: values of a feature; `score`: outputs of the network; `range`: values of a number feature within and outside its limits.
  kind text not null check (kind in ('feature', 'score', 'range')),
  name text not null,
  replica_id text not null,
  counts bigint[] not null,
  flushed_at timestamptz not null default now(),
  primary key (model, version, hour, kind, name, replica_id)
);
create index feature_counts_by_hour on feature_counts using brin (hour);

-- Responses of the shadow version beside those that were served, for the paired test.
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
  -- A hash of the routing key: the pairs of one user count once.
  entity bigint not null,
  primary key (release_id, prediction_id)
);
create index shadow_pairs_by_time on shadow_pairs (at);
create index shadow_pairs_of_release on shadow_pairs (release_id, at, prediction_id);

-- What users did after a prediction (bought, rated, returned), which the judge of a release compares between its arms.
create table events (
  -- The sender's id, or the digest of the fields: an event that is sent again is stored once.
  id text primary key,
  -- SHA-256 of the fields, so that an id with other fields is noticed.
  digest bytea not null,
  -- Null: of every model that has served the user. An event of a prediction belongs to the model of the prediction.
  model text references models (name) on delete cascade,
  prediction_id uuid,
  -- Joins predictions.id.
  request_id uuid generated always as (request_of(prediction_id)) stored,
  routing_key text,
  name text not null,
  value double precision not null,
  occurred_at timestamptz not null,
  arrived_at timestamptz not null default now(),
  source text not null,
  check ((prediction_id is null) <> (routing_key is null))
);
create index events_by_user on events (routing_key, name) where routing_key is not null;
create index events_by_request on events (request_id) where request_id is not null;
create index events_by_arrival on events (arrived_at);

-- External metrics: what other systems have measured of each arm of a release, window by window.
create table external_readings (
  release_id text not null references releases (id) on delete cascade,
  metric text not null,
  from_at timestamptz not null,
  -- Null: the source gave no value. The control is null as well where a limit decides.
  canary double precision,
  control double precision,
  problem text,
  primary key (release_id, metric, from_at),
  check ((canary is null) = (problem is not null))
);
