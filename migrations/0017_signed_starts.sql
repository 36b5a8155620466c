-- What permits the start of a workflow by a user, a retraining or a drill. A client of Temporal can start any workflow with any input.

-- Signed starts that a workflow has begun by. Each opens one run.
create table used_starts (
  id text primary key,
  workflow_type text not null,
  run_id text not null,
  -- The key that has signed it. No foreign key: keys are never deleted, and a restore needs an order of the tables.
  key_id text not null,
  at timestamptz not null default clock_timestamp()
);

-- The policies that a retraining and a drill may give the release of their version.
alter table retrainings add column policy jsonb;
alter table drills add column policy jsonb;
