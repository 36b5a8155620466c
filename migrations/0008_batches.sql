-- Batch predictions: many rows answered by the version that was champion when the batch began.
create table batches (
  id text primary key,
  model text not null references models (name),
  version text not null references versions (version),
  input jsonb not null,
  output jsonb not null,
  requested_by text not null,
  -- SHA-256 of the Parquet file to which the input was frozen, and its rows; set once it is.
  input_digest text,
  rows bigint,
  status text not null default 'running' check (status in ('running', 'done', 'failed')),
  message text,
  started_at timestamptz not null default now(),
  ended_at timestamptz,
  check ((status = 'running') = (ended_at is null))
);
create index batches_by_version on batches (version);

-- A part of a batch is written down once: whoever scores it again after a kill finds it here.
create table batch_shards (
  batch_id text not null references batches (id) on delete cascade,
  shard integer not null,
  rows bigint not null,
  -- Rows that the model cannot read; each says why in the output.
  refused bigint not null,
  -- The Parquet file with its answers; null when they went into the table below.
  digest text,
  at timestamptz not null default now(),
  primary key (batch_id, shard)
);

create table batch_predictions (
  batch_id text not null references batches (id) on delete cascade,
  -- Its place in the frozen input, from 0.
  row bigint not null,
  -- What names the row for those who asked, as it stood in the input.
  key jsonb,
  outputs real[],
  answer jsonb,
  problem text,
  primary key (batch_id, row)
);
