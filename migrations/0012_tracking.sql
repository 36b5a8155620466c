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
