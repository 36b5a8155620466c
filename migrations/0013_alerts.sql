-- Alerts, the channels that they are sent to, and their notifications.

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
  resolved_at timestamptz,
  -- What ended it: what a check has measured since, or who has closed it.
  resolution text,
  -- What identifies the cause. An open alert with another cause is no longer acknowledged, and every channel is told again.
  cause text not null default '',
  -- The highest severity that an open alert has had; null while it has the severity and the cause with which it was raised. When the
  -- severity rises or the cause changes, the acknowledgement ends, and every channel is told again: of `worst_since`.
  worst text,
  worst_since timestamptz
);
create unique index alerts_open on alerts (dedupe_key) where resolved_at is null;
-- One request or promotion is told once, also when an operator has closed its alert and several processes report it.
create unique index alerts_of_releases on alerts (dedupe_key)
  where kind in ('approval_needed', 'decision_needed', 'release_promoted', 'release_aborted');

-- The notifications of each alert: sent, pending and abandoned.
create table alert_notifications (
  id bigint generated always as identity primary key,
  alert_id bigint not null references alerts (id) on delete cascade,
  channel text not null,
  about text not null check (about in ('raised', 'reminder', 'resolved')),
  due_at timestamptz not null,
  attempts integer not null default 0,
  -- The next attempt; null after it is sent or abandoned.
  next_at timestamptz default now(),
  sent_at timestamptz,
  given_up_at timestamptz,
  -- Why the last attempt failed.
  problem text,
  -- The kind and severity of the alert when the notification was sent: an Alertmanager is told the end of an alert under its former labels.
  sent_as jsonb,
  unique (alert_id, channel, about, due_at)
);
create index alert_notifications_pending on alert_notifications (next_at) where next_at is not null;

create table alert_channels (
  name text primary key,
  -- Names its secrets and holds none: each process reads them from its folder of secrets.
  definition jsonb not null,
  updated_at timestamptz not null default now()
);

-- Triggers alerts_notify_insert and alerts_notify_update: wake the alert dispatch through the channel `tenure_alerts`. An alert
-- whose evidence alone changes sends no notice.
create function notify_alert() returns trigger language plpgsql as $$
begin
  perform pg_notify('tenure_alerts', new.id::text);
  return null;
end $$;
create trigger alerts_notify_insert after insert on alerts for each row execute function notify_alert();
create trigger alerts_notify_update after update on alerts for each row
  when ((old.severity, old.cause, old.acknowledged_at, old.resolved_at)
    is distinct from (new.severity, new.cause, new.acknowledged_at, new.resolved_at))
  execute function notify_alert();

-- Trigger releases_notify: wakes the alert dispatch through `tenure_alerts` when a release enters a stage.
create function notify_release_stage() returns trigger language plpgsql as $$
begin
  perform pg_notify('tenure_alerts', new.id);
  return null;
end $$;
create trigger releases_notify after update on releases for each row
  when (old.stage is distinct from new.stage)
  execute function notify_release_stage();
