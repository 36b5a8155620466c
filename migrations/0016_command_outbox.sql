-- What people have said to releases while Temporal was away. A row is written in one transaction with its row of the audit and
-- with the answer under its idempotency key, and is sent as soon as Temporal is back. What the release says to it stands in
-- release_commands, as for any other command; the row stays for whoever asks what has become of it.
create table command_outbox (
  id text primary key,
  release_id text not null references releases (id),
  -- Makes a repetition harmless: here, on the way, and in the release.
  command_id text not null,
  command text not null,
  actor text not null,
  -- What is sent, with its warrant.
  message jsonb not null,
  -- In this order they were said to a release, and are sent to it.
  place bigint generated always as identity,
  recorded_at timestamptz not null default clock_timestamp(),
  -- When it is tried next; null once the release has answered. Whoever tries it moves it ahead first.
  next_at timestamptz default clock_timestamp(),
  -- When Temporal has taken it first, and how often: it is sent again when no answer comes.
  sent_at timestamptz,
  times integer not null default 0,
  -- Why the last attempt failed.
  problem text,
  unique (release_id, command_id)
);
create index command_outbox_due on command_outbox (next_at) where next_at is not null;
create index command_outbox_open on command_outbox (release_id, place) where next_at is not null;
create index command_outbox_by_time on command_outbox (recorded_at);
