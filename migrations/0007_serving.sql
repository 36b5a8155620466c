-- Routes, replicas and what they acknowledge, kill switches, and what replicas report of themselves.

create table routing_epochs (
  -- Raised when a database is restored from a backup. Replicas compare (epoch, generation).
  epoch bigint primary key,
  reason text not null,
  at timestamptz not null default now()
);
insert into routing_epochs (epoch, reason) values (1, 'created');

create table routing (
  model text primary key references models (name) on delete cascade,
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
  lease_until timestamptz not null,
  -- The machine and the process, so that the next replica on the machine can end the lease of one that was killed.
  machine text,
  process text,
  -- How long a lease lasts. One that reaches further was written before the clock of the database was set back.
  lease_ms double precision not null
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
  model text primary key references models (name) on delete cascade,
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

-- The gateways that pass the traffic of models. The replica that owns one sets it to the route and reads its counters.
create table gateways (
  model text primary key references models (name) on delete cascade,
  -- Of the model file: which gateway, its address and its backend.
  traffic jsonb not null,
  owner text not null,
  owned_until timestamptz not null,
  -- The route that it was last compared with.
  epoch bigint not null default 0,
  generation bigint not null default 0,
  -- The kill switch that it was last compared with.
  switch_revision bigint not null default 0,
  -- Why it does not follow them; null when it follows.
  problem text,
  since timestamptz not null default clock_timestamp(),
  -- What it was set to, and its counters up to which requests are counted. Null before it was first set.
  ordered jsonb,
  counters jsonb,
  -- When its counters were last read.
  read_at timestamptz not null default clock_timestamp()
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
  -- The version that the replica cannot load; null for another reason.
  version text,
  at timestamptz not null default now(),
  primary key (replica_id, model)
);
