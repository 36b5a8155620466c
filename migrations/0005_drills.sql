-- Releases that wait for their turn, and rehearsed releases.

-- A version that was made for a drill. It is never proven, and the foreign key below keeps it from ever being champion,
-- whatever a program does.
alter table versions add column drill boolean not null default false;
alter table versions add constraint versions_drill_is_never_proven check (not drill or proven_at is null);
alter table versions add constraint versions_by_drill unique (version, drill);
alter table champions add column drill boolean not null default false check (not drill);
alter table champions add constraint champions_are_no_drills
  foreign key (version, drill) references versions (version, drill);

-- The release that waits while another one of its model is open. The newest waits; what it replaces stays here with its end.
create table waiting_releases (
  id text primary key,
  model text not null references models (name),
  version text not null references versions (version),
  requested_by text not null,
  -- Of a hotfix: why it takes the place of others.
  hotfix_reason text,
  -- Replaces the policy of the model file, as in the request.
  policy jsonb,
  -- Whose place it may take: none, one that no request has reached, or one whose champion has not moved.
  over text not null check (over in ('none', 'unexposed', 'exposed')),
  state text not null default 'waiting' check (state in ('waiting', 'started', 'superseded', 'expired', 'refused')),
  message text not null default '',
  release_id text,
  at timestamptz not null default clock_timestamp(),
  until timestamptz not null,
  ended_at timestamptz,
  check ((state = 'waiting') = (ended_at is null))
);
create unique index waiting_releases_one on waiting_releases (model) where state = 'waiting';
create index waiting_releases_by_release on waiting_releases (release_id);

create table drills (
  id text primary key,
  model text not null references models (name),
  kind text not null check (kind in ('bad', 'nan', 'slow', 'silent', 'lost-replica', 'dead-worker')),
  traffic text not null check (traffic in ('mirrored', 'live')),
  requested_by text not null,
  harm_budget integer not null,
  version text references versions (version),
  release_id text,
  -- Of a lost replica: which one is told to fall silent, and until when.
  replica_id text,
  silent_until timestamptz,
  -- Of a dead worker: when the watch of the release was told to fall silent. It is told once.
  silenced_at timestamptz,
  -- When what is rehearsed began, was noticed, and was over.
  began_at timestamptz,
  detected_at timestamptz,
  recovered_at timestamptz,
  detected_by text,
  -- Requests that met the candidate, and callers who got a bad answer from it.
  exposed bigint,
  harmed bigint,
  passed boolean,
  message text,
  evidence jsonb not null default '{}',
  started_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  check ((passed is null) = (ended_at is null))
);
create unique index drills_one_running on drills (model) where ended_at is null;
create index drills_by_model on drills (model, started_at desc);
create index drills_by_release on drills (release_id);
