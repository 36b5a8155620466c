-- External metrics: what other systems have measured of each arm of a release, window by window.

create table external_readings (
  release_id text not null references releases (id) on delete cascade,
  metric text not null,
  from_at timestamptz not null,
  -- Null: the source gave no value. The control is null as well where a limit decides.
  canary double precision,
  control double precision,
  problem text,
  read_at timestamptz not null default now(),
  primary key (release_id, metric, from_at),
  check ((canary is null) = (problem is not null))
);
