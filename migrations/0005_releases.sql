-- Releases with their commands, decisions and clocks.

create table releases (
  id text primary key,
  model text not null references models (name) on delete cascade,
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
    ('qualifying', 'awaiting_approval', 'shadow', 'targeted', 'canary', 'awaiting_decision', 'promoting', 'probation', 'rolling_back', 'ended')),
  stage_index integer not null default 0,
  share_bp integer not null default 0,
  paused boolean not null default false,
  -- The complete state of the machine. Steps and commands advance it under the lock of this row.
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
create index releases_by_version on releases (version);
create index releases_by_baseline on releases (baseline_version);

-- What users have asked for: commands to a release, and starts of workflows. A row is written in one transaction with its audit row, and
-- it is the authority: a signal, an update and the input of a workflow name its id and nothing else.
create table commands (
  -- From the idempotency key of the request, where it has one, so that a repetition is the same row.
  id text primary key check (id ~ '^cmd_[0-9a-f]{32}$'),
  -- The order in which the commands of a release, and the starts of a model, are delivered and applied.
  position bigint generated always as identity,
  kind text not null check (kind in ('approve', 'reject', 'pause', 'resume', 'abort', 'promoteNow', 'rollback',
    'release', 'retrain', 'trial', 'sweep', 'drill', 'batchPredict', 'materialise',
    'loadTest')),
  -- Null for a feature view.
  model text references models (name) on delete cascade,
  -- The release that the command is for; null for a start.
  release_id text references releases (id),
  actor text not null,
  -- No foreign key: keys are never deleted, and a restore needs an order of the tables.
  key_id text not null,
  -- The role of the key at that moment.
  role text not null,
  reason text,
  -- The digests that the sender of a command to a release saw.
  digests jsonb,
  -- The request of a start, as its workflow uses it.
  input jsonb,
  -- What the names in a start meant: the champion of the model, and the artifact of the version.
  basis jsonb,
  -- A command that ends a wait has no effect after the end of that wait; a start opens no run after this time.
  until timestamptz,
  at timestamptz not null default clock_timestamp(),
  -- The next delivery to Temporal; null when none is due. A sender moves it ahead before it sends.
  next_at timestamptz,
  -- When Temporal first accepted it, and how often it was sent.
  sent_at timestamptz,
  times integer not null default 0,
  -- Why the last delivery failed.
  problem text,
  -- The one run that a start has opened; set once.
  run_id text,
  -- The one answer: of the release, or what was started.
  accepted boolean,
  stage text,
  message text,
  started jsonb,
  answered_at timestamptz,
  check ((release_id is null) = (input is not null)),
  check ((model is null) = (kind = 'materialise')),
  check ((accepted is null) = (answered_at is null))
);
create index commands_due on commands (next_at) where next_at is not null;
create index commands_by_release on commands (release_id, position);
create index commands_open_starts on commands (model, position) where next_at is not null;
create index commands_by_time on commands (at);

-- The release that waits while another release of its model is open. Only the newest waits; a replaced entry stays with its end.
create table release_queue (
  id text primary key,
  model text not null references models (name) on delete cascade,
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
-- The page of versions asks for the last turn of each one.
create index release_queue_by_version on release_queue (version, at);

create table decisions (
  id bigint generated always as identity primary key,
  release_id text not null references releases (id) on delete cascade,
  stage text not null,
  stage_index integer not null,
  kind text not null check (kind in ('pass', 'fail', 'inconclusive', 'no_data', 'error')),
  reasons jsonb not null,
  statistics jsonb not null,
  inputs jsonb not null,
  judge text not null,
  policy_digest text not null,
  -- All that the verdict follows from, where the verdict has ended a watch; the certificate of the release repeats it.
  evidence jsonb,
  at timestamptz not null default now()
);
create index decisions_by_release on decisions (release_id, id);
-- The verdicts against candidates are looked for at every look of a release, which may have stored a hundred thousand others.
create index decisions_against on decisions (release_id) where kind = 'fail';

-- How long each stage has been watched. The clock runs only between observations, so that an outage of the worker does not
-- shorten a window.
create table stage_clocks (
  release_id text not null references releases (id) on delete cascade,
  stage text not null,
  stage_index integer not null,
  watched_ms double precision not null default 0,
  -- Whether an operator had paused the clock at the last observation.
  paused boolean not null,
  observed_at timestamptz not null,
  primary key (release_id, stage, stage_index)
);
