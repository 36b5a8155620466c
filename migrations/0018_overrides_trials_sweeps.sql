-- Hyperparameters of one retraining, trials that register nothing, and sweeps that choose among many of them.

-- The hyperparameters that the request sets in place of those of the model file.
alter table retrainings add column overrides jsonb;
-- The sweep whose winner it trains. No foreign key: a restore needs an order of the tables.
alter table retrainings add column sweep_id text;

create table sweeps (
  id text primary key,
  model text not null references models (name),
  requested_by text not null,
  as_of timestamptz not null,
  -- The hyperparameters to try, and how.
  plan jsonb not null,
  snapshot_digest text,
  -- The overrides that the validation rows have chosen. The retraining of the sweep is compared with them.
  winner jsonb,
  outcome text check (outcome in ('chosen', 'quarantined', 'failed', 'cancelled')),
  message text,
  started_at timestamptz not null default now(),
  ended_at timestamptz
);
create index sweeps_by_model on sweeps (model, started_at);

-- A training that is judged and leaves no version.
create table trials (
  id text primary key,
  model text not null references models (name),
  -- The sweep that it belongs to; null for one of its own.
  sweep_id text,
  requested_by text not null,
  as_of timestamptz not null,
  overrides jsonb not null default '{}',
  snapshot_digest text,
  training_id text not null,
  evaluation_id text,
  -- The primary metric on the validation rows of a sweep.
  score double precision,
  outcome text check (outcome in ('judged', 'scored', 'stopped', 'quarantined', 'failed', 'cancelled')),
  message text,
  started_at timestamptz not null default now(),
  ended_at timestamptz
);
create index trials_by_model on trials (model, started_at);
create index trials_by_sweep on trials (sweep_id) where sweep_id is not null;
create index trials_by_training on trials (training_id);
