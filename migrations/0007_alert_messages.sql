-- What people were told of each alert, and what is still on its way to them.
create table alert_messages (
  id bigint generated always as identity primary key,
  alert_id bigint not null references alerts (id) on delete cascade,
  channel text not null,
  about text not null check (about in ('raised', 'resolved')),
  due_at timestamptz not null,
  attempts integer not null default 0,
  -- When it is tried next; null once it is sent or given up.
  next_at timestamptz default now(),
  sent_at timestamptz,
  given_up_at timestamptz,
  -- Why the last attempt failed.
  problem text,
  unique (alert_id, channel, about, due_at)
);
create index alert_messages_waiting on alert_messages (next_at) where next_at is not null;

create function notify_alert() returns trigger language plpgsql as $$
begin
  perform pg_notify('tenure_alerts', new.id::text);
  return null;
end $$;
create trigger alert_raised after insert on alerts for each row execute function notify_alert();
-- An alert that is renewed with other evidence is no news.
create trigger alert_changed after update on alerts for each row
  when ((old.severity, old.acknowledged_at, old.resolved_at) is distinct from (new.severity, new.acknowledged_at, new.resolved_at))
  execute function notify_alert();
