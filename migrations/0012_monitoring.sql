-- The judgements of served traffic.

-- The drift verdict for a window of served traffic, or of its outcomes, with its counts.
create table drift_judgements (
  id bigint generated always as identity primary key,
  model text not null references models (name) on delete cascade,
  version text not null references versions (version),
  subject text not null default 'served' check (subject in ('served', 'label')),
  from_at timestamptz not null,
  to_at timestamptz not null,
  level text not null check (level in ('stable', 'warn', 'alarm', 'insufficient', 'unreadable')),
  report jsonb not null,
  inputs jsonb not null,
  policy jsonb not null,
  judge text not null,
  at timestamptz not null default now(),
  -- Each window is evaluated once.
  unique (model, version, subject, from_at, to_at)
);
create index drift_judgements_by_time on drift_judgements (model, subject, to_at);

-- The quality of a version in use, on a window whose outcomes have matured.
create table quality_judgements (
  id bigint generated always as identity primary key,
  model text not null references models (name) on delete cascade,
  version text not null references versions (version),
  from_at timestamptz not null,
  to_at timestamptz not null,
  level text not null check (level in ('held', 'lost', 'insufficient')),
  report jsonb not null,
  inputs jsonb not null,
  policy jsonb not null,
  judge text not null,
  at timestamptz not null default now(),
  unique (model, version, from_at, to_at)
);
-- The last window of each week with a measurement.
create index quality_judgements_measured on quality_judgements (model, to_at) where level <> 'insufficient';

-- Verdicts on a window before its outcomes arrive: the estimated quality, and the skew between serving and training. They
-- raise alerts and decide nothing.
create table serving_judgements (
  id bigint generated always as identity primary key,
  kind text not null check (kind in ('estimate', 'skew')),
  model text not null references models (name) on delete cascade,
  version text not null references versions (version),
  from_at timestamptz not null,
  to_at timestamptz not null,
  verdict text not null,
  statistic jsonb not null,
  inputs jsonb not null,
  policy jsonb not null,
  judge text not null,
  at timestamptz not null default now(),
  unique (kind, model, version, from_at, to_at)
);

-- The observations of each served model, window by window. Windows of a model are contiguous; each is evaluated once, however
-- often the monitor restarts.
create table monitor_windows (
  model text not null references models (name) on delete cascade,
  from_at timestamptz not null,
  to_at timestamptz not null,
  -- The champion at the time of the evaluation; null without one.
  version text references versions (version),
  facts jsonb not null,
  -- The verdict of each judge: service, drift, label drift, quality, estimate, skew; or its error.
  findings jsonb not null,
  -- The condition that requested a retraining, and the result of the request; null without one.
  trigger jsonb,
  judge text not null,
  at timestamptz not null default now(),
  primary key (model, to_at),
  check (from_at < to_at)
);

-- The watch of each champion: one row a model, of the version that is champion.
create table champion_watch (
  model text primary key references models (name) on delete cascade,
  version text not null references versions (version),
  -- The end of the last judged tick.
  judged_at timestamptz not null,
  -- The detectors, as `WatchState`.
  state jsonb not null,
  is_failing boolean not null,
  -- The 99th percentile of the latency of the week, and when it was measured; null while it is unknown.
  slow_us bigint,
  measured_at timestamptz,
  -- Until when a control worker decides about a failing champion, and when one has decided.
  claimed_until timestamptz,
  decided_at timestamptz
);

-- Deleting a version looks for its judgements and windows, as it does by the indexes of other tables that name versions.
create index drift_judgements_by_version on drift_judgements (version);
create index quality_judgements_by_version on quality_judgements (version);
create index serving_judgements_by_version on serving_judgements (version);
create index monitor_windows_by_version on monitor_windows (version);
