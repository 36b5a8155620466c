-- The feature store: values of entities over time, and the latest of each for lookup.

-- A view with a changed definition is another row, so that a live version keeps the values it was trained on.
create table feature_views (
  id integer generated always as identity primary key,
  name text not null,
  -- SHA-256 of everything that determines the values.
  digest text not null unique,
  definition jsonb not null,
  -- Every row that was usable by then is stored; null before the first run.
  watermark timestamptz,
  -- Rows that arrived after the watermark had passed them.
  late_rows bigint not null default 0,
  -- The end of the last run, and its error.
  ran_at timestamptz,
  problem text,
  synced_at timestamptz not null default now()
);
create index feature_views_by_name on feature_views (name);

-- Append-only until retention deletes it. Training joins it as of each row's time.
create table feature_history (
  view_id integer not null references feature_views (id) on delete cascade,
  entity text not null,
  event_at timestamptz not null,
  known_at timestamptz not null,
  -- The later of the two; for a late row, when it was ingested, because no training could have used it earlier.
  usable_at timestamptz not null,
  features jsonb not null,
  primary key (view_id, entity, event_at, known_at),
  check (usable_at >= greatest(event_at, known_at))
);
create index feature_history_by_time on feature_history (view_id, usable_at);

-- The latest event of each entity, and of that event the value known last.
create table feature_latest (
  view_id integer not null references feature_views (id) on delete cascade,
  entity text not null,
  event_at timestamptz not null,
  known_at timestamptz not null,
  features jsonb not null,
  primary key (view_id, entity)
);
