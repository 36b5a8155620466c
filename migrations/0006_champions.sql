-- The champion of each model, and the drills, whose versions never become champion.

-- At most one champion per model, at every instant.
create table champions (
  model text primary key references models (name) on delete cascade,
  version text not null references versions (version),
  release_id text references releases (id),
  since timestamptz not null default now(),
  drill boolean not null default false check (not drill),
  constraint champions_are_no_drills foreign key (version, drill) references versions (version, drill)
);

create table champion_history (
  id bigint generated always as identity primary key,
  model text not null references models (name) on delete cascade,
  version text not null references versions (version),
  previous_version text references versions (version),
  release_id text references releases (id),
  cause text not null check (cause in ('promotion', 'rollback')),
  actor text not null,
  reason text not null,
  at timestamptz not null default now()
);
create index champion_history_by_model on champion_history (model, at);
create index champion_history_by_version on champion_history (version);
create index champion_history_by_previous on champion_history (previous_version);
create index champion_history_by_release on champion_history (release_id);

create table drills (
  id text primary key,
  model text not null references models (name) on delete cascade,
  -- The workflow that has opened it: a schedule adds its time to the id.
  workflow_id text,
  kind text not null check (kind in ('bad', 'nan', 'slow', 'silent', 'lost-replica', 'dead-worker')),
  traffic text not null check (traffic in ('mirrored', 'live')),
  requested_by text not null,
  harm_budget integer not null,
  version text references versions (version),
  release_id text,
  -- For `lost-replica`: the replica that stops renewing its lease, and until when.
  replica_id text,
  silent_until timestamptz,
  -- For `dead-worker`: when the stage watch was stopped. It is stopped once.
  silenced_at timestamptz,
  -- When the simulated failure began, was detected, and had recovered.
  began_at timestamptz,
  detected_at timestamptz,
  recovered_at timestamptz,
  detected_by text,
  -- Requests that reached the candidate, and requests with a bad response from it.
  exposed bigint,
  harmed bigint,
  passed boolean,
  message text,
  evidence jsonb not null default '{}',
  started_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  -- The policy that it may give the release of its version.
  policy jsonb,
  -- Why its release was not opened: {message}.
  failure jsonb,
  check ((passed is null) = (ended_at is null))
);
create unique index drills_one_running on drills (model) where ended_at is null;
create index drills_by_model on drills (model, started_at desc);
create index drills_by_release on drills (release_id);
create index drills_by_version on drills (version);
create index drills_by_start on drills (started_at, id);
