-- What was seen of each model that serves, window by window. Windows of a model follow each other without a gap; each is
-- looked at once, however often the monitor is restarted.
create table monitor_windows (
  model text not null references models (name),
  from_at timestamptz not null,
  to_at timestamptz not null,
  -- The champion at the time of the look; null without one.
  version text references versions (version),
  facts jsonb not null,
  -- What each judge said: service, drift, label drift, quality, estimate, skew; an error in the place of one that could not.
  findings jsonb not null,
  -- What asked for a retraining, and what came of the request; null when nothing did.
  trigger jsonb,
  judge text not null,
  at timestamptz not null default now(),
  primary key (model, to_at),
  check (from_at < to_at)
);

create index outcomes_by_arrival on outcomes (arrived_at);
