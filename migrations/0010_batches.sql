-- Batch predictions, and the partitions of the batches of model files.

-- Batch predictions: all rows are scored by the version that was champion when the batch started.
create table batches (
  id text primary key,
  model text not null references models (name) on delete cascade,
  version text not null references versions (version),
  input jsonb not null,
  output jsonb not null,
  requested_by text not null,
  -- SHA-256 of the Parquet file that holds the frozen input, and its row count; null until it is frozen.
  input_digest text,
  rows bigint,
  status text not null default 'running' check (status in ('running', 'done', 'failed')),
  message text,
  -- What the last failed activity said: {message, code}. Removed when it succeeds.
  failure jsonb,
  started_at timestamptz not null default now(),
  ended_at timestamptz,
  -- The looked-up features of the frozen input with the number of rows for which nothing was found: [{"feature", "rows"}]. Null without lookups.
  not_found jsonb,
  check ((status = 'running') = (ended_at is null))
);
create index batches_by_version on batches (version);

-- Each shard of a batch is stored once, so that a retry after a crash finds it here.
create table batch_shards (
  batch_id text not null references batches (id) on delete cascade,
  shard integer not null,
  rows bigint not null,
  -- Rows that the model cannot read; the output says why for each.
  refused bigint not null,
  -- The Parquet file with the answers; null when they are in `batch_predictions`.
  digest text,
  at timestamptz not null default now(),
  -- How many rows are for review; null for a model without a band.
  for_review bigint,
  primary key (batch_id, shard)
);

create table batch_predictions (
  batch_id text not null references batches (id) on delete cascade,
  -- The row number in the frozen input, from 0.
  row bigint not null,
  -- The key of the row, as in the input.
  key jsonb,
  outputs real[],
  answer jsonb,
  problem text,
  -- Whether the answer lies in the band of its model for review; null without an answer or a band.
  review boolean,
  -- The id under which the row is in the prediction log, with the arm `batch`; null for rows that were not chosen for it.
  prediction_id uuid,
  primary key (batch_id, row)
);

-- Each partition of a batch of a model file, with the batches that score it.
create table batch_partitions (
  model text not null references models (name) on delete cascade,
  -- Its name in the model file.
  batch text not null,
  -- The day (YYYY-MM-DD), the parameters of a firing, both, or 'all'.
  partition text not null,
  -- From 1; a later one replaces the answers of an earlier one.
  attempt integer not null,
  -- The batch that scores it. Its row in `batches` is written when it starts.
  id text not null unique,
  request jsonb not null,
  reason text not null check (reason in ('due', 'withdrawn', 'asked', 'fired')),
  asked_at timestamptz not null default now(),
  -- The firing that has asked for the attempt.
  firing text unique,
  primary key (model, batch, partition, attempt)
);

-- The batch that holds the answers of each partition: the last that was completed.
create view scored_partitions as
  select distinct on (model, batch, partition)
    batch_partitions.model, batch_partitions.batch, batch_partitions.partition, attempt, id as batch_id, version, batches.rows, ended_at
  from batch_partitions join batches using (id)
  where status = 'done'
  order by model, batch, partition, attempt desc;
