-- How an experiment is found again: what each training ran with, and the metrics of every version as rows of their own, so
-- that ten thousand versions are searched by an index and not by reading each lineage.

alter table trainings
  -- The revision of the checkout that trained it.
  add column build_id text,
  -- Package → version, with the interpreter; `dependencies_digest` is of all that was installed.
  add column dependencies jsonb not null default '{}';

create table version_metrics (
  version text not null references versions (version) on delete cascade,
  metric text not null,
  value double precision not null,
  primary key (version, metric)
);
create index version_metrics_by_value on version_metrics (metric, value, version);

-- In the transaction of the version itself, whoever registers it. A metric that could not be computed has no row.
create function keep_version_metrics() returns trigger language plpgsql as $$
begin
  insert into version_metrics (version, metric, value)
    select new.version, key, value::double precision
    from jsonb_each(case jsonb_typeof(new.lineage -> 'metrics') when 'object' then new.lineage -> 'metrics' else '{}' end)
    where jsonb_typeof(value) = 'number'
    on conflict (version, metric) do update set value = excluded.value;
  return null;
end $$;
create trigger version_has_metrics after insert on versions for each row execute function keep_version_metrics();

insert into version_metrics (version, metric, value)
  select version, key, value::double precision
  from versions, jsonb_each(case jsonb_typeof(lineage -> 'metrics') when 'object' then lineage -> 'metrics' else '{}' end)
  where jsonb_typeof(value) = 'number';

create index versions_by_creation on versions (created_at, version);
create index versions_by_model_creation on versions (model, created_at, version);
create index versions_by_snapshot on versions ((lineage ->> 'snapshot') text_pattern_ops);
create index trainings_by_start on trainings (started_at, id);
create index trainings_by_model_start on trainings (model, started_at, id);
create index trainings_by_snapshot on trainings (snapshot_digest text_pattern_ops);
create index evaluations_by_training on evaluations (training_id);

-- Other systems that are told of what happens here. A row is there from when a worker is told to tell it; what happens before
-- is not kept for it, nor what happens a month after the last worker that was told to.
create table mirrors (
  target text primary key check (target in ('mlflow', 'openlineage')),
  since timestamptz not null default now(),
  renewed_at timestamptz not null default now()
);

create function is_mirrored(to_target text) returns boolean language sql stable as $$
  select exists (select from mirrors where target = to_target and renewed_at > now() - interval '30 days')
$$;

-- What they have yet to be told, and what they were: written in the transaction of what happened, so that a system that is away
-- misses nothing and nothing waits for it.
create table deliveries (
  id bigint generated always as identity primary key,
  target text not null references mirrors (target) on delete cascade,
  -- For MLflow: a training, a version, or the aliases of a model, each as it is when it is told. For OpenLineage: one event of a run.
  kind text not null check (kind in ('training', 'version', 'aliases', 'event')),
  subject text not null,
  payload jsonb not null default '{}',
  -- Raised when the subject changes again before it is told.
  revision integer not null default 1,
  at timestamptz not null default clock_timestamp(),
  attempts integer not null default 0,
  -- When it is tried next; null once it is told or given up. Whoever tells it moves it ahead first.
  next_at timestamptz default clock_timestamp(),
  sent_at timestamptz,
  given_up_at timestamptz,
  -- Why the last attempt failed.
  problem text
);
create unique index deliveries_one_waiting on deliveries (target, kind, subject) where next_at is not null and kind <> 'event';
create index deliveries_due on deliveries (target, next_at) where next_at is not null;
create index deliveries_by_subject on deliveries (target, subject, id) where next_at is not null;
create index deliveries_by_time on deliveries (at);

create function tell_mlflow(kind text, subject text) returns void language sql as $$
  insert into deliveries (target, kind, subject)
    select 'mlflow', tell_mlflow.kind, tell_mlflow.subject where is_mirrored('mlflow')
    on conflict (target, kind, subject) where next_at is not null and kind <> 'event'
    do update set revision = deliveries.revision + 1
$$;

create function training_is_news() returns trigger language plpgsql as $$
begin
  perform tell_mlflow('training', new.id);
  return null;
end $$;
create trigger training_begins after insert on trainings for each row execute function training_is_news();
create trigger training_ends after update on trainings for each row
  when (old.status is distinct from new.status) execute function training_is_news();

create function evaluation_is_news() returns trigger language plpgsql as $$
begin
  perform tell_mlflow('training', new.training_id);
  return null;
end $$;
create trigger evaluation_is_made after insert on evaluations for each row execute function evaluation_is_news();

create function version_is_news() returns trigger language plpgsql as $$
begin
  if not new.drill then
    perform tell_mlflow('version', new.version);
  end if;
  return null;
end $$;
create trigger version_is_made after insert on versions for each row execute function version_is_news();
create trigger version_changes after update on versions for each row
  when ((old.proven_at, old.withdrawn_at) is distinct from (new.proven_at, new.withdrawn_at)) execute function version_is_news();

create function champion_is_news() returns trigger language plpgsql as $$
begin
  perform tell_mlflow('aliases', coalesce(new.model, old.model));
  return null;
end $$;
create trigger champion_changes after insert or update or delete on champions for each row execute function champion_is_news();

-- A release is a run of its own in the lineage: its ends are told from here, for it may end in several ways.
create function release_is_news() returns trigger language plpgsql as $$
begin
  perform tell_mlflow('aliases', new.model);
  insert into deliveries (target, kind, subject, payload)
    select 'openlineage', 'event', new.id, jsonb_build_object('job', 'release', 'at', clock_timestamp(), 'type', case
      when new.ended_at is null then 'START'
      when new.outcome = 'promoted' then 'COMPLETE'
      when new.outcome in ('failed', 'rolled_back') then 'FAIL'
      else 'ABORT' end)
    where is_mirrored('openlineage');
  return null;
end $$;
create trigger release_begins after insert on releases for each row execute function release_is_news();
create trigger release_ends after update on releases for each row
  when (old.ended_at is null and new.ended_at is not null) execute function release_is_news();

-- Erasure of what is kept of a person. The person is never named here: only by a hash that nobody can try keys against without
-- the signing key of the installation. A row stays: it keeps the person out of what comes later.
create table erasures (
  id text primary key,
  model text not null references models (name),
  subject_hash text not null,
  -- Of the key that the hash was made with.
  key_digest text not null,
  -- Requests that were named beside the person.
  requests uuid[] not null default '{}',
  requested_by text not null,
  requested_at timestamptz not null default clock_timestamp(),
  stage text not null default 'logs' check (stage in ('logs', 'replicas', 'again', 'rest', 'snapshots', 'done')),
  -- Up to where the log has been gone through in this stage.
  reached_at timestamptz,
  -- What was erased, by where it was.
  counts jsonb not null default '{}',
  -- Replicas that did not say in time that nothing of before waits with them.
  outstanding text[] not null default '{}',
  notes text[] not null default '{}',
  ended_at timestamptz,
  check ((stage = 'done') = (ended_at is not null))
);
create unique index erasures_one_open on erasures (model, subject_hash) where ended_at is null;

-- Requests that were erased: what becomes true of them later is not kept, and a row of one that was waiting on a disk is not stored.
create table erased_requests (
  id uuid primary key,
  erased_at timestamptz not null default now()
);
create index erased_requests_by_time on erased_requests (erased_at);

-- A replica says that every row it had answered when it heard of the erasure is in the log.
create table erasure_acknowledgements (
  erasure_id text not null references erasures (id) on delete cascade,
  replica_id text not null references replicas (id) on delete cascade,
  at timestamptz not null default now(),
  primary key (erasure_id, replica_id)
);

-- Snapshots from before that hold the person, or may: nobody can take a row out of a file that is named by its content.
create table erasure_snapshots (
  erasure_id text not null references erasures (id) on delete cascade,
  digest text not null references snapshots (digest),
  holds text not null check (holds in ('yes', 'unknown')),
  drop_after timestamptz not null,
  primary key (erasure_id, digest)
);
create index erasure_snapshots_by_time on erasure_snapshots (drop_after);
-- When its file was removed.
alter table snapshots add column dropped_at timestamptz;

-- As it is made elsewhere: SHA-256 of the key and the text, in hexadecimal digits; null for null.
create function subject_hash_of(key text, subject text) returns text language sql immutable strict parallel safe
  return encode(sha256(convert_to(key || subject, 'UTF8')), 'hex');

-- Whether a request is of a person: by its routing key, or by the feature that names persons in one of its instances.
create function is_of_subject(
  key text, hash text, subject text, fits jsonb, routing_key text, features bytea, instances integer
) returns boolean language plpgsql immutable parallel safe as $$
declare
  place integer;
begin
  if subject_hash_of(key, routing_key) = hash then
    return true;
  end if;
  if subject is null or features = '' or not exists (
    select from jsonb_array_elements(fits) as fit where fit ->> 'name' = subject and fit ->> 'kind' <> 'number') then
    return false;
  end if;
  for place in 0 .. instances - 1 loop
    if subject_hash_of(key, instance_of(features, fits, instances, place) ->> subject) = hash then
      return true;
    end if;
  end loop;
  return false;
end $$;
