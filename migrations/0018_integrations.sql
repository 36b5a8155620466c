-- MLflow and OpenLineage. Triggers write what a system has to receive into `integration_outbox`, in the transaction of the change,
-- so that an unreachable system misses no change and delays none.

-- The systems that workers are configured to send to. An integration receives changes from its first row until 30 days after the
-- last renewal by a worker.
create table integrations (
  target text primary key check (target in ('mlflow', 'openlineage')),
  since timestamptz not null default now(),
  renewed_at timestamptz not null default now()
);

create function is_integration_active(to_target text) returns boolean language sql stable as $$
  select exists (select from integrations where target = to_target and renewed_at > now() - interval '30 days')
$$;

create table integration_outbox (
  id bigint generated always as identity primary key,
  target text not null references integrations (target) on delete cascade,
  -- For MLflow: a training, a version, or the aliases of a model, each read when it is sent. For OpenLineage: one event of a run.
  kind text not null check (kind in ('training', 'version', 'aliases', 'event')),
  subject text not null,
  payload jsonb not null default '{}',
  -- Raised when the subject changes again before it is sent.
  revision integer not null default 1,
  at timestamptz not null default clock_timestamp(),
  attempts integer not null default 0,
  -- The next attempt; null after it is sent or abandoned. A sender moves it ahead before it sends.
  next_at timestamptz default clock_timestamp(),
  sent_at timestamptz,
  given_up_at timestamptz,
  -- Why the last attempt failed.
  problem text
);
create unique index integration_outbox_one_pending on integration_outbox (target, kind, subject)
  where next_at is not null and kind <> 'event';
create index integration_outbox_due on integration_outbox (target, next_at) where next_at is not null;
create index integration_outbox_by_subject on integration_outbox (target, subject, id) where next_at is not null;
create index integration_outbox_by_time on integration_outbox (at);

-- Adds one item for MLflow, or raises the revision of the pending one.
create function enqueue_mlflow(kind text, subject text) returns void language sql as $$
  insert into integration_outbox (target, kind, subject)
    select 'mlflow', enqueue_mlflow.kind, enqueue_mlflow.subject where is_integration_active('mlflow')
    on conflict (target, kind, subject) where next_at is not null and kind <> 'event'
    do update set revision = integration_outbox.revision + 1
$$;

-- Triggers trainings_enqueue_insert and trainings_enqueue_update: a training starts, and changes its status.
create function enqueue_training() returns trigger language plpgsql as $$
begin
  perform enqueue_mlflow('training', new.id);
  return null;
end $$;
create trigger trainings_enqueue_insert after insert on trainings for each row execute function enqueue_training();
create trigger trainings_enqueue_update after update on trainings for each row
  when (old.status is distinct from new.status) execute function enqueue_training();

-- Trigger evaluations_enqueue_insert: an evaluation adds its metrics to the run of its training.
create function enqueue_evaluation() returns trigger language plpgsql as $$
begin
  perform enqueue_mlflow('training', new.training_id);
  return null;
end $$;
create trigger evaluations_enqueue_insert after insert on evaluations for each row execute function enqueue_evaluation();

-- Triggers versions_enqueue_insert and versions_enqueue_update: a version is registered, becomes known good, or is rolled back.
create function enqueue_version() returns trigger language plpgsql as $$
begin
  if not new.drill then
    perform enqueue_mlflow('version', new.version);
  end if;
  return null;
end $$;
create trigger versions_enqueue_insert after insert on versions for each row execute function enqueue_version();
create trigger versions_enqueue_update after update on versions for each row
  when ((old.known_good_at, old.rolled_back_at) is distinct from (new.known_good_at, new.rolled_back_at))
  execute function enqueue_version();

-- Trigger champions_enqueue_change: the aliases of a model follow its champion.
create function enqueue_champion() returns trigger language plpgsql as $$
begin
  perform enqueue_mlflow('aliases', coalesce(new.model, old.model));
  return null;
end $$;
create trigger champions_enqueue_change after insert or update or delete on champions
  for each row execute function enqueue_champion();

-- Triggers releases_enqueue_insert and releases_enqueue_end: a release is an OpenLineage run of its own, and changes the aliases in
-- MLflow. The end is recorded here because a release has several ways to end.
create function enqueue_release() returns trigger language plpgsql as $$
begin
  perform enqueue_mlflow('aliases', new.model);
  insert into integration_outbox (target, kind, subject, payload)
    select 'openlineage', 'event', new.id, jsonb_build_object('job', 'release', 'at', clock_timestamp(), 'type', case
      when new.ended_at is null then 'START'
      when new.outcome = 'promoted' then 'COMPLETE'
      when new.outcome in ('failed', 'rolled_back') then 'FAIL'
      else 'ABORT' end)
    where is_integration_active('openlineage');
  return null;
end $$;
create trigger releases_enqueue_insert after insert on releases for each row execute function enqueue_release();
create trigger releases_enqueue_end after update on releases for each row
  when (old.ended_at is null and new.ended_at is not null) execute function enqueue_release();
