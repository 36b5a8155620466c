-- Outcomes of predictions, the judgements of served traffic, and alerts.

create table outcomes (
  id bigint generated always as identity primary key,
  prediction_id uuid not null,
  -- Joins predictions.id; the answer is in `outputs` from instance_index * width + 1.
  request_id uuid not null generated always as (request_of(prediction_id)) stored,
  value jsonb not null,
  observed_at timestamptz not null,
  arrived_at timestamptz not null default now(),
  source text not null default 'api',
  -- A later value for the same prediction is another row; the highest revision counts.
  revision integer not null default 1,
  unique (prediction_id, revision)
);
create index outcomes_by_request on outcomes (request_id);
create index outcomes_by_arrival on outcomes (arrived_at);

-- The drift verdict for a window of served traffic, or of its outcomes, with its counts.
create table drift_judgements (
  id bigint generated always as identity primary key,
  model text not null references models (name),
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
  model text not null references models (name),
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
  model text not null references models (name),
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
  model text not null references models (name),
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

create table alerts (
  id bigint generated always as identity primary key,
  dedupe_key text not null,
  model text,
  severity text not null check (severity in ('info', 'warning', 'critical')),
  kind text not null,
  message text not null,
  evidence jsonb not null default '{}',
  raised_at timestamptz not null default now(),
  acknowledged_at timestamptz,
  acknowledged_by text,
  resolved_at timestamptz
);
create unique index alerts_open on alerts (dedupe_key) where resolved_at is null;

-- The notifications of each alert: sent, pending and abandoned.
create table alert_notifications (
  id bigint generated always as identity primary key,
  alert_id bigint not null references alerts (id) on delete cascade,
  channel text not null,
  about text not null check (about in ('raised', 'resolved')),
  due_at timestamptz not null,
  attempts integer not null default 0,
  -- The next attempt; null after it is sent or abandoned.
  next_at timestamptz default now(),
  sent_at timestamptz,
  given_up_at timestamptz,
  -- Why the last attempt failed.
  problem text,
  unique (alert_id, channel, about, due_at)
);
create index alert_notifications_pending on alert_notifications (next_at) where next_at is not null;

-- Triggers alerts_notify_insert and alerts_notify_update: wake the alert dispatch through the channel `tenure_alerts`. An alert
-- whose evidence alone changes sends no notice.
create function notify_alert() returns trigger language plpgsql as $$
begin
  perform pg_notify('tenure_alerts', new.id::text);
  return null;
end $$;
create trigger alerts_notify_insert after insert on alerts for each row execute function notify_alert();
create trigger alerts_notify_update after update on alerts for each row
  when ((old.severity, old.acknowledged_at, old.resolved_at) is distinct from (new.severity, new.acknowledged_at, new.resolved_at))
  execute function notify_alert();
