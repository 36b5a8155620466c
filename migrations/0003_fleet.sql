-- What a fleet of replicas follows beside its routes: who vouches for a version, and the kill switch of a model.

-- Ed25519 over name, model and manifest digest. Null for a version that nobody vouches for: it is served nowhere.
alter table versions add column signature bytea;

create table flags (
  model text primary key references models (name),
  serve text not null check (serve in ('normal', 'champion', 'fallback')),
  reason text not null,
  actor text not null,
  -- Raised by every write; replicas acknowledge it.
  revision bigint not null,
  at timestamptz not null default now()
);

create table flag_acknowledgements (
  replica_id text not null references replicas (id) on delete cascade,
  model text not null,
  revision bigint not null,
  -- Why the replica does not do what the flag says, when it does not.
  problem text,
  at timestamptz not null default now(),
  primary key (replica_id, model)
);
