-- Routes, replicas and what they acknowledge, kill switches, and the counters of served requests.

create table routing_epochs (
  -- Raised when a database is restored from a backup. Replicas compare (epoch, generation).
  epoch bigint primary key,
  reason text not null,
  at timestamptz not null default now()
);
insert into routing_epochs (epoch, reason) values (1, 'created');

create table routing (
  model text primary key references models (name),
  epoch bigint not null,
  generation bigint not null,
  route jsonb not null,
  -- End of the candidate's lease; null when the route has no candidate.
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

create table routing_acknowledgements (
  replica_id text not null references replicas (id) on delete cascade,
  model text not null,
  epoch bigint not null,
  generation bigint not null,
  -- Why the replica cannot follow the route; null when it follows.
  problem text,
  at timestamptz not null default now(),
  primary key (replica_id, model)
);

create table kill_switches (
  model text primary key references models (name),
  -- `refuse`: every request of the model is refused.
  serve text not null check (serve in ('normal', 'champion', 'fallback', 'refuse')),
  reason text not null,
  actor text not null,
  -- Raised by every write; replicas acknowledge it.
  revision bigint not null,
  at timestamptz not null default now()
);

create table kill_switch_acknowledgements (
  replica_id text not null references replicas (id) on delete cascade,
  model text not null,
  revision bigint not null,
  -- Why the replica does not follow the kill switch; null when it follows.
  problem text,
  at timestamptz not null default now(),
  primary key (replica_id, model)
);

-- The resources a replica uses, as last reported. The monitor evaluates the largest among live replicas.
create table replica_resources (
  replica_id text primary key references replicas (id) on delete cascade,
  rss_mb double precision not null check (rss_mb >= 0),
  -- CPU seconds per second.
  cpu_share double precision not null check (cpu_share >= 0),
  -- Delay of the event loop, 99th percentile.
  loop_delay_ms double precision not null check (loop_delay_ms >= 0),
  at timestamptz not null default now()
);

-- The fallback level at which a replica serves a model.
create table replica_fallbacks (
  replica_id text not null references replicas (id) on delete cascade,
  model text not null,
  level text not null check (level in ('champion', 'previous', 'rule', 'refused')),
  reason text not null,
  at timestamptz not null default now(),
  primary key (replica_id, model)
);

-- Counters are absolute for their key, so that storing one twice changes nothing.
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
  -- Upper bounds in microseconds → counts, for charts and for the latency quantiles before a release.
  latency jsonb not null default '{}',
  flushed_at timestamptz not null default now(),
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
  primary key (release_id, prediction_id)
);
create index shadow_pairs_by_time on shadow_pairs (at);
