-- Triggers of model files: what each has seen, and every time that one has fired.

create table trigger_positions (
  model text not null references models (name),
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

create table trigger_firings (
  id text primary key,
  model text not null references models (name),
  trigger text not null,
  message text not null,
  evidence jsonb not null,
  -- The name of the key that has called the webhook.
  requested_by text,
  overrides jsonb,
  -- Why it starts nothing.
  refused text,
  fired_at timestamptz not null default now()
);
create index trigger_firings_by_trigger on trigger_firings (model, trigger, fired_at);
create index retrainings_by_dedupe_key on retrainings (dedupe_key);

alter table retrainings drop constraint retrainings_reason_check;
alter table retrainings add constraint retrainings_reason_check
  check (reason in ('schedule', 'manual', 'trigger', 'drift', 'quality', 'labels'));
