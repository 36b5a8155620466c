-- Batches of model files: each partition with the batches that score it.

create table batch_partitions (
  model text not null references models (name),
  -- Its name in the model file.
  batch text not null,
  -- The day, YYYY-MM-DD.
  partition text not null,
  -- From 1; a later one replaces the answers of an earlier one.
  attempt integer not null,
  -- The batch that scores it. Its row in `batches` is written when it starts.
  id text not null unique,
  request jsonb not null,
  reason text not null check (reason in ('due', 'withdrawn', 'asked')),
  asked_at timestamptz not null default now(),
  primary key (model, batch, partition, attempt)
);

-- The batch that holds the answers of each partition: the last that was completed.
create view scored_partitions as
  select distinct on (model, batch, partition)
    batch_partitions.model, batch_partitions.batch, batch_partitions.partition, attempt, id as batch_id, version, batches.rows, ended_at
  from batch_partitions join batches using (id)
  where status = 'done'
  order by model, batch, partition, attempt desc;
