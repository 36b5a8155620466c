-- State that `tenure apply` sets from a file: alert channels, and what it has set last of every resource.

create table alert_channels (
  name text primary key,
  -- Names its secrets and holds none: each process reads them from its folder of secrets.
  definition jsonb not null,
  updated_at timestamptz not null default now()
);

create table applied_state (
  kind text not null check (kind in ('model', 'key', 'channel', 'killSwitch', 'schedule')),
  name text not null,
  -- Of a model the digest of its code only.
  value jsonb not null,
  -- The key that has applied it.
  actor text not null,
  at timestamptz not null default now(),
  primary key (kind, name)
);
