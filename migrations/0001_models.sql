-- Models, and the fields that their requests may carry.
-- In every table: time comes from the database, a state is a text with a check, and each write that may be repeated has a
-- key that makes the repetition harmless.

create table models (
  name text primary key,
  -- The model file as data: features, label, gates, release policy, schedule.
  definition jsonb not null,
  code_digest text not null,
  synced_at timestamptz not null default now()
);

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
