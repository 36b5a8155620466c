-- The feature store: values of entities over time, and the newest of each for lookup. A view whose definition has changed is
-- another row: what lives goes on with the values it was trained on.
create table feature_views (
  id integer generated always as identity primary key,
  name text not null,
  -- SHA-256 of all that decides what the values are.
  digest text not null unique,
  definition jsonb not null,
  -- Every row that was usable by then is stored; null before the first run.
  watermark timestamptz,
  -- Rows that came after the watermark had passed them.
  late_rows bigint not null default 0,
  -- The last run that came to an end, and what was wrong with it.
  ran_at timestamptz,
  problem text,
  synced_at timestamptz not null default now()
);
create index feature_views_by_name on feature_views (name);

-- Only ever added to, until it is too old. Training is joined to it as of each row's time.
create table feature_history (
  view_id integer not null references feature_views (id) on delete cascade,
  entity text not null,
  event_at timestamptz not null,
  known_at timestamptz not null,
  -- The later of the two; of a row that came late, when it was found: nobody could have used it before.
  usable_at timestamptz not null,
  features jsonb not null,
  primary key (view_id, entity, event_at, known_at),
  check (usable_at >= greatest(event_at, known_at))
);
create index feature_history_by_time on feature_history (view_id, usable_at);

-- The newest event of each entity, and of that what became known last.
create table feature_newest (
  view_id integer not null references feature_views (id) on delete cascade,
  entity text not null,
  event_at timestamptz not null,
  known_at timestamptz not null,
  features jsonb not null,
  primary key (view_id, entity)
);
