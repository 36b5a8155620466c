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

-- Triggers models_insert_fields and versions_insert_fields: add the features of a model file or a version, and the fields by which they are
-- looked up.
create function insert_model_fields() returns trigger language plpgsql as $$
begin
  perform insert_request_fields(new.name, new.definition -> 'features');
  return null;
end $$;
create trigger models_insert_fields after insert or update of definition on models
  for each row execute function insert_model_fields();

create function insert_version_fields() returns trigger language plpgsql as $$
begin
  perform insert_request_fields(new.model, new.manifest -> 'features');
  return null;
end $$;
create trigger versions_insert_fields after insert on versions for each row execute function insert_version_fields();

select insert_request_fields(name, definition -> 'features') from models;
select insert_request_fields(model, manifest -> 'features') from versions;
