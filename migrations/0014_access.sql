-- API keys, revoked sessions, idempotency, and the state of the service.

create table api_keys (
  id text primary key,
  name text not null,
  -- SHA-256 of the secret; the secret itself is shown once and never stored.
  hash bytea not null unique,
  -- The secret before the last renewal, valid until then.
  previous_hash bytea unique,
  previous_until timestamptz,
  role text not null check (role in ('viewer', 'predictor', 'labeller', 'developer', 'operator', 'approver', 'admin')),
  -- The models this key may access; all models when null.
  models text[],
  -- Rate limit and burst size; unlimited when null.
  requests_per_second integer check (requests_per_second between 1 and 100000),
  burst integer check (burst between 1 and 1000000),
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  -- Within some seconds.
  last_used_at timestamptz,
  -- Requests with a secret of this key that opens nothing any more: the last one, and how many since when without ten minutes of silence.
  refused_at timestamptz,
  refused_since timestamptz,
  refused bigint not null default 0,
  -- The identity at an identity provider. A person is an issuer and its subject; names and email addresses change owners.
  sso_issuer text,
  sso_subject text,
  check ((previous_hash is null) = (previous_until is null)),
  check ((requests_per_second is null) = (burst is null)),
  constraint api_keys_sso check ((sso_issuer is null) = (sso_subject is null))
);
create unique index api_keys_active_name on api_keys (name) where revoked_at is null;
create unique index api_keys_active_identity on api_keys (sso_issuer, sso_subject) where revoked_at is null;

-- Dashboard sessions that a user has ended. A session is a signed cookie without a row; a copy of the cookie would stay valid
-- after sign-out.
create table revoked_sessions (
  id text primary key,
  -- The expiry of the session; after it the row has no effect.
  until timestamptz not null
);
create index revoked_sessions_by_end on revoked_sessions (until);

-- The code with which the holder of a key signs in on another device, in place of the key: one a key, for two minutes and one use.
create table sign_in_codes (
  key_id text primary key references api_keys on delete cascade,
  hash bytea not null unique,
  -- Identifies the secret of the key that opened the session.
  mark text not null,
  expires_at timestamptz not null,
  -- The end of the session that made the code, and of the one that it opens.
  session_until timestamptz not null
);

-- The response to each command, under the key and the name that its sender chose. A repetition gets the same response.
create table idempotent_requests (
  key_id text not null,
  name text not null,
  -- SHA-256 of method, path and body.
  request_hash bytea not null,
  -- The process that executes the command, and when another process may take over.
  holder text not null,
  held_until timestamptz not null,
  status integer,
  answer jsonb,
  at timestamptz not null default now(),
  primary key (key_id, name)
);
create index idempotent_requests_by_time on idempotent_requests (at);

create table service_state (
  name text primary key,
  value jsonb not null,
  at timestamptz not null default now()
);

-- What `tenure apply` has set last of every resource.
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
