-- Retrainings, and the triggers of model files that ask for them.

create table retrainings (
  -- The workflow id of the run: retrain/<model>/<run>.
  id text primary key,
  model text not null references models (name) on delete cascade,
  reason text not null check (reason in ('schedule', 'manual', 'trigger', 'drift', 'quality', 'labels')),
  evidence jsonb not null default '{}',
  dedupe_key text,
  requested_by text not null,
  as_of timestamptz not null,
  -- `unchanged`: the artifact is the champion's, or that of a version which was rolled back.
  outcome text check (outcome in
    ('released', 'registered', 'unchanged', 'quarantined', 'not_better', 'insufficient', 'failed', 'cancelled', 'throttled')),
  message text,
  snapshot_digest text references snapshots (digest),
  version text references versions (version),
  started_at timestamptz not null default now(),
  ended_at timestamptz,
  -- The policy that it may give the release of its version.
  policy jsonb,
  -- The hyperparameters that the request sets in place of those of the model file.
  overrides jsonb,
  -- The sweep whose winner it trains. No foreign key: a restore needs an order of the tables.
  sweep_id text,
  -- The code of the error that has failed it, for its remedy.
  error_code text,
  -- The artifact that is evaluated and released instead of training one.
  artifact jsonb,
  -- The rows that its snapshot leaves out.
  excluded_rows jsonb,
  -- What the last failed activity said: {message, code}. Removed when it succeeds.
  failure jsonb,
  -- Why its artifact is not new and was not evaluated.
  unchanged text,
  -- All matured rows, on which the recipe is trained again after the gate.
  refit_snapshot_digest text references snapshots (digest)
);
create unique index retrainings_one_running on retrainings (model) where ended_at is null;
create index retrainings_by_model on retrainings (model, started_at);
create index retrainings_by_dedupe_key on retrainings (dedupe_key);
create index retrainings_by_version on retrainings (version);
create index retrainings_by_snapshot on retrainings (snapshot_digest);
create index retrainings_by_refit_snapshot on retrainings (refit_snapshot_digest);

-- What each trigger of a model file has seen.
create table trigger_positions (
  model text not null references models (name) on delete cascade,
  trigger text not null,
  -- As it was when it last looked: a changed one starts again.
  definition jsonb not null,
  -- What it has seen: files, a watermark or runs.
  seen jsonb not null,
  since timestamptz not null default now(),
  looked_at timestamptz not null default now(),
  -- Why its last look has failed.
  problem text,
  primary key (model, trigger)
);

-- Every time that a trigger has fired.
create table trigger_firings (
  id text primary key,
  model text not null references models (name) on delete cascade,
  trigger text not null,
  message text not null,
  evidence jsonb not null,
  -- The name of the key that has called the webhook.
  requested_by text,
  overrides jsonb,
  -- How it makes a version smaller: {version, to, …}; null for a training.
  compression jsonb,
  -- Why it starts nothing.
  refused text,
  fired_at timestamptz not null default now(),
  -- The batch that it starts; null for a retraining.
  batch text
);
create index trigger_firings_by_trigger on trigger_firings (model, trigger, fired_at);
