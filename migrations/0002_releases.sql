-- Releases, their commands, decisions and clocks, the champion of each model, and drills.

create table releases (
  id text primary key,
  model text not null references models (name),
  version text not null references versions (version),
  baseline_version text references versions (version),
  strategy text not null,
  policy jsonb not null,
  policy_digest text not null,
  evaluation_digest text not null,
  artifact_digest text not null,
  requested_by text not null,
  workflow_id text not null,
  run_id text not null,
  stage text not null check (stage in
    ('qualifying', 'awaiting_approval', 'shadow', 'canary', 'awaiting_decision', 'promoting', 'probation', 'rolling_back', 'ended')),
  stage_index integer not null default 0,
  share_bp integer not null default 0,
  paused boolean not null default false,
  -- The complete state of the machine, as the workflow last stored it.
  state jsonb not null,
  outcome text check (outcome in ('promoted', 'rolled_back', 'rejected', 'expired', 'aborted', 'superseded', 'failed')),
  reason text,
  started_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  -- Set with the rollback order. From then on no route to the candidate and no promotion of it is accepted for this release.
  rolled_back_at timestamptz,
  ended_at timestamptz,
  check ((outcome is null) = (ended_at is null))
);
create unique index releases_one_open on releases (model) where ended_at is null;
create index releases_by_model on releases (model, started_at desc);

create table release_commands (
  -- The update id, or the id that the sender chose. The same id twice is one command.
  id text primary key,
  release_id text not null references releases (id),
  command text not null,
  actor text not null,
  reason text,
  accepted boolean not null,
  message text not null,
  stage text not null,
  at timestamptz not null default now()
);
create index release_commands_by_release on release_commands (release_id, at);

-- Commands and start requests that arrived while Temporal was unreachable. A row is written in one transaction with its audit
-- row and the response under its idempotency key, and is sent when Temporal is reachable. The release stores its response in
-- `release_commands`; a start request has no release yet and keeps its response here.
create table command_outbox (
  id text primary key,
  release_id text references releases (id),
  model text references models (name),
  -- Makes a repetition harmless here, on the way, and in the release.
  command_id text not null,
  command text not null,
  actor text not null,
  -- What is sent, with its signature.
  message jsonb not null,
  -- The order in which commands were recorded and are sent to a release.
  position bigint generated always as identity,
  recorded_at timestamptz not null default clock_timestamp(),
  -- The next attempt; null after the release has responded. A sender moves it ahead before it sends.
  next_at timestamptz default clock_timestamp(),
  -- When Temporal first accepted it, and how often it was sent.
  sent_at timestamptz,
  times integer not null default 0,
  -- Why the last attempt failed.
  problem text,
  answer jsonb,
  answered_at timestamptz,
  unique (release_id, command_id),
  check ((release_id is null) = (model is not null))
);
create index command_outbox_due on command_outbox (next_at) where next_at is not null;
create index command_outbox_open on command_outbox (release_id, position) where next_at is not null;
create index command_outbox_by_time on command_outbox (recorded_at);
create unique index command_outbox_starts on command_outbox (command_id) where release_id is null;
create index command_outbox_open_starts on command_outbox (model, position) where next_at is not null;

-- The release that waits while another release of its model is open. Only the newest waits; a replaced entry stays with its end.
create table release_queue (
  id text primary key,
  model text not null references models (name),
  version text not null references versions (version),
  requested_by text not null,
  -- Set for a hotfix: why it may supersede other releases.
  hotfix_reason text,
  -- Replaces the policy of the model file, as in the request.
  policy jsonb,
  -- Which open releases it may supersede: none, one without requests yet, or one whose champion has not changed.
  preemption text not null check (preemption in ('none', 'unexposed', 'exposed')),
  state text not null default 'waiting' check (state in ('waiting', 'started', 'superseded', 'expired', 'refused')),
  message text not null default '',
  -- No foreign key: the release that starts from the queue inserts its own row later, or never.
  release_id text,
  at timestamptz not null default clock_timestamp(),
  until timestamptz not null,
  ended_at timestamptz,
  check ((state = 'waiting') = (ended_at is null))
);
create unique index release_queue_one_waiting on release_queue (model) where state = 'waiting';
create index release_queue_by_release on release_queue (release_id);

create table decisions (
  id bigint generated always as identity primary key,
  release_id text not null references releases (id),
  stage text not null,
  stage_index integer not null,
  kind text not null check (kind in ('pass', 'fail', 'inconclusive', 'no_data', 'error')),
  reasons jsonb not null,
  statistics jsonb not null,
  inputs jsonb not null,
  judge text not null,
  policy_digest text not null,
  at timestamptz not null default now()
);
create index decisions_by_release on decisions (release_id, id);

-- How long each stage has been watched. The clock runs only between observations, so that an outage of the worker does not
-- shorten a window.
create table stage_clocks (
  release_id text not null references releases (id),
  stage text not null,
  stage_index integer not null,
  watched_ms double precision not null default 0,
  -- Whether an operator had paused the clock at the last observation.
  paused boolean not null,
  observed_at timestamptz not null,
  primary key (release_id, stage, stage_index)
);

-- At most one champion per model, at every instant.
create table champions (
  model text primary key references models (name),
  version text not null references versions (version),
  release_id text references releases (id),
  since timestamptz not null default now(),
  drill boolean not null default false check (not drill),
  constraint champions_are_no_drills foreign key (version, drill) references versions (version, drill)
);

create table champion_history (
  id bigint generated always as identity primary key,
  model text not null references models (name),
  version text not null references versions (version),
  previous_version text references versions (version),
  release_id text references releases (id),
  cause text not null check (cause in ('promotion', 'rollback')),
  actor text not null,
  reason text not null,
  at timestamptz not null default now()
);
create index champion_history_by_model on champion_history (model, at);

create table drills (
  id text primary key,
  model text not null references models (name),
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
  check ((passed is null) = (ended_at is null))
);
create unique index drills_one_running on drills (model) where ended_at is null;
create index drills_by_model on drills (model, started_at desc);
create index drills_by_release on drills (release_id);
create index drills_by_start on drills (started_at, id);
