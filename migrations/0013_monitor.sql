-- What the monitor of a model looks at beside answers and outcomes, and the last rung of the ladder.

-- What a replica needs, by itself, since it said so last; the monitor looks at the largest of those that live.
create table replica_resources (
  replica_id text primary key references replicas (id) on delete cascade,
  rss_mb double precision not null check (rss_mb >= 0),
  -- Seconds of a core in a second.
  cpu_share double precision not null check (cpu_share >= 0),
  -- How long a turn of the event loop came late, 99th percentile.
  loop_delay_ms double precision not null check (loop_delay_ms >= 0),
  at timestamptz not null default now()
);

-- Who answers for a model on a replica: its champion, a previous version, a rule or nobody.
create table replica_rungs (
  replica_id text not null references replicas (id) on delete cascade,
  model text not null,
  rung text not null check (rung in ('champion', 'previous', 'rule', 'refused')),
  reason text not null,
  at timestamptz not null default now(),
  primary key (replica_id, model)
);

-- `range`: of a number feature with limits, how many values lay within and outside of them.
alter table feature_counts drop constraint feature_counts_kind_check;
alter table feature_counts add constraint feature_counts_kind_check check (kind in ('feature', 'score', 'range'));

-- `refuse`: nobody is answered.
alter table flags drop constraint flags_serve_check;
alter table flags add constraint flags_serve_check check (serve in ('normal', 'champion', 'fallback', 'refuse'));
