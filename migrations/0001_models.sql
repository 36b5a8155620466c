-- Models, and the fields that their requests may carry.
-- In every table: time comes from the database, a state is a text with a check, and each write that may be repeated has a
-- key that makes the repetition harmless.

create table models (
  name text primary key,
  -- The model file as data: features, label, gates, release policy, schedule.
  definition jsonb not null,
  code_digest text not null,
  -- Names the row of `model_files` that workers run; null for a model whose files lie in the project of the workers.
  files_digest text,
  synced_at timestamptz not null default now()
);

-- Read by every replica twice a second; without it, each definition would be.
create index models_with_traffic on models (name) where definition ? 'traffic';

-- Model files that were sent with a key. The workers run those that `models` names, and no others.
create table model_files (
  model text not null,
  -- SHA-256 of the archive.
  digest text not null,
  -- A tar of the model file, what it imports, and its programs.
  archive bytea not null,
  -- What the check of the files has found.
  definition jsonb not null,
  code_digest text not null,
  -- Digests of the files by path; that of the model file leaves out the values that need no approval.
  files jsonb not null,
  sent_by text not null,
  sent_at timestamptz not null default now(),
  -- Waiting: their code needs an approval.
  state text not null check (state in ('waiting', 'applied', 'rejected')),
  decided_by text,
  primary key (model, digest),
  check ((state = 'rejected') <= (decided_by is not null))
);
-- Newer files take the place of those that wait.
create unique index model_files_waiting on model_files (model) where state = 'waiting';

-- Which fields requests of a model may carry: what its model files and its versions have named. A field stays when a later file drops it,
-- because callers may go on sending it.
create table request_fields (
  model text not null references models (name) on delete cascade,
  field text not null,
  primary key (model, field)
);

create function insert_request_fields(model text, features jsonb) returns void language sql as $$
  insert into request_fields (model, field)
    select $1, field from (
      select jsonb_object_keys(features) as field where jsonb_typeof(features) = 'object'
      union
      select jsonb_path_query(features, '$.*.from.by[*]') #>> '{}'
    ) as named
    order by field
    on conflict do nothing
$$;

-- Trigger models_insert_fields: adds the features of a model file, and the fields by which they are looked up.
create function insert_model_fields() returns trigger language plpgsql as $$
begin
  perform insert_request_fields(new.name, new.definition -> 'features');
  return null;
end $$;
create trigger models_insert_fields after insert or update of definition on models
  for each row execute function insert_model_fields();
