-- The units (routing keys, hashed with what they count for) that a replica has counted: the primary key makes each count once over all
-- replicas, however a balancer spreads its requests.
create table counted_units (
  model text not null,
  -- Empty for the callers of a champion that have failed, whose hash includes the ten seconds.
  release_id text not null,
  unit bigint not null,
  -- The replica and its tick that hold the count.
  replica_id text not null,
  tick timestamptz not null,
  primary key (release_id, unit)
);
create index counted_units_by_tick on counted_units using brin (tick);

call scope_rows('counted_units', 'scope_allows(model)');
