-- The prediction log, partitioned by day so that retention drops tables instead of rows.

-- One row per request: the instances of one request share arm, version, routing key and latency.
create table predictions (
  -- The id of the first instance's prediction (UUID v7); the ids of the others count up in the last two bytes.
  id uuid not null,
  at timestamptz not null,
  model text not null,
  version text not null,
  arm text not null,
  release_id text,
  generation bigint not null,
  routing_key text,
  instances integer not null,
  -- The inputs, to seven digits: the number features as 32-bit floats, row by row, little-endian (NaN for null), then the
  -- others, row by row, each as a four-byte little-endian length and UTF-8 (all ones for null). The highest bit of a length is set for the
  -- digest of a feature whose value is not logged: JSON with `sha256` and the parts of the value. The order is that of
  -- `preprocessing` in the manifest; instance_of decodes it. JSON costs three times the ingest and twice the space.
  features bytea not null,
  -- The outputs of the network, instance by instance.
  outputs real[] not null,
  latency_us integer not null,
  -- The key that asked; `public` for a request without one, where predictions are public. Null for a row of a batch.
  key_id text,
  -- The caller's name of what the request is about, such as an order number: an outcome of its predictions may name it.
  reference text,
  -- The transaction that stored the row, plus `prediction_numbering.ahead`; null while no topic is sent the log, and in rows from before.
  stored_in bigint,
  primary key (id, at)
) partition by range (at);
-- Large batches are stored out of line and uncompressed, because compression costs more than the space; a row of a few
-- kilobytes stays in line.
alter table predictions alter column features set storage external, alter column outputs set storage external;
create table predictions_default partition of predictions default;
alter table predictions_default alter column features set storage external, alter column outputs set storage external;
alter table predictions_default set (toast_tuple_target = 8160);
create index predictions_by_version on predictions (model, version, at);
create index predictions_by_reference on predictions (reference, model) where reference is not null;

-- The id under which the request of a prediction is stored.
create function request_of(prediction_id uuid) returns uuid language sql immutable strict parallel safe
  return encode(overlay(uuid_send(prediction_id) placing '\x0000'::bytea from 15 for 2), 'hex')::uuid;

-- The index of a prediction among the instances of its request, from 0.
create function instance_index(prediction_id uuid) returns integer language sql immutable strict parallel safe
  return get_byte(uuid_send(prediction_id), 14) * 256 + get_byte(uuid_send(prediction_id), 15);

-- The time of a prediction's request, from its id (UUID v7); null for other ids. A lookup by id alone would read every
-- partition, so it adds this time.
create function prediction_time(prediction_id uuid) returns timestamptz language sql immutable strict parallel safe
  return case when get_byte(uuid_send(prediction_id), 6) >> 4 = 7 then to_timestamp((
    (get_byte(uuid_send(prediction_id), 0)::bigint << 40) + (get_byte(uuid_send(prediction_id), 1)::bigint << 32)
    + (get_byte(uuid_send(prediction_id), 2)::bigint << 24) + (get_byte(uuid_send(prediction_id), 3)::bigint << 16)
    + (get_byte(uuid_send(prediction_id), 4)::bigint << 8) + get_byte(uuid_send(prediction_id), 5)) / 1000.0) end;

-- The smallest id of a moment.
create function first_id_at(moment timestamptz) returns uuid language sql immutable strict parallel safe
  return (lpad(to_hex((extract(epoch from moment) * 1000)::bigint), 12, '0') || '70000000000000000000')::uuid;

-- A 32-bit float of `features`; null for NaN.
create function float_at(features bytea, at integer) returns real language sql immutable strict parallel safe return (
  select case
    when exponent = 255 then null
    when exponent = 0 then sign * mantissa * power(2::double precision, -149)
    else sign * (8388608 + mantissa) * power(2::double precision, exponent - 150)
  end::real
  from (
    select 1 - 2 * (get_byte(features, at + 3) >> 7) as sign,
      (get_byte(features, at + 3) & 127) * 2 + (get_byte(features, at + 2) >> 7) as exponent,
      ((get_byte(features, at + 2) & 127) << 16) + (get_byte(features, at + 1) << 8) + get_byte(features, at) as mantissa
  ) as bits);

-- One instance of a request, from 0, as {"feature": value}, where a digest is an object; `fits` is `preprocessing` of the version's manifest.
create function instance_of(features bytea, fits jsonb, instances integer, instance integer) returns jsonb
language plpgsql immutable strict parallel safe as $$
declare
  numbers integer := (select count(*) from jsonb_array_elements(fits) as fit where fit ->> 'kind' = 'number');
  texts integer := jsonb_array_length(fits) - numbers;
  number_at integer := instance * numbers * 4;
  text_at integer := instances * numbers * 4;
  length bigint;
  bytes integer;
  value text;
  fit jsonb;
  found jsonb := '{}';
begin
  for skipped in 1 .. instance * texts loop
    length := get_byte(features, text_at) + (get_byte(features, text_at + 1) << 8) + (get_byte(features, text_at + 2) << 16)
      + (get_byte(features, text_at + 3)::bigint << 24);
    text_at := text_at + 4 + case length when 4294967295 then 0 else length & 2147483647 end;
  end loop;
  for fit in select * from jsonb_array_elements(fits) loop
    if fit ->> 'kind' = 'number' then
      found := found || jsonb_build_object(fit ->> 'name', float_at(features, number_at));
      number_at := number_at + 4;
    else
      length := get_byte(features, text_at) + (get_byte(features, text_at + 1) << 8) + (get_byte(features, text_at + 2) << 16)
        + (get_byte(features, text_at + 3)::bigint << 24);
      bytes := case length when 4294967295 then 0 else length & 2147483647 end;
      value := convert_from(substr(features, text_at + 5, bytes), 'UTF8');
      found := found || jsonb_build_object(fit ->> 'name', case when length = 4294967295 then null
        when length > 2147483647 then value::jsonb else to_jsonb(value) end);
      text_at := text_at + 4 + bytes;
    end if;
  end loop;
  return found;
end $$;

-- Creates the partition of a day, in UTC. Returns false when it exists, or when the default partition already holds rows of that
-- day, where they may stay. Gives up after a second behind a reader, because writers would queue behind it.
create function make_prediction_day(day date) returns boolean language plpgsql set lock_timeout = '1s' as $$
declare
  name text := 'predictions_' || to_char(day, 'YYYYMMDD');
begin
  perform pg_advisory_xact_lock(hashtext('prediction days'));
  if to_regclass(name) is not null then
    return false;
  end if;
  execute format('create table %I (like predictions including storage including constraints)', name);
  execute format('alter table %I set (toast_tuple_target = 8160)', name);
  execute format('alter table predictions attach partition %I for values from (%L) to (%L)', name,
    day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC');
  return true;
exception when check_violation then
  return false;
end $$;

-- Drops the oldest day that ended before the given time. Returns its name, or null when there is no such day.
create function drop_prediction_day(before timestamptz) returns text language plpgsql set lock_timeout = '1s' as $$
declare
  oldest text;
begin
  perform pg_advisory_xact_lock(hashtext('prediction days'));
  select relname into oldest
    from pg_inherits join pg_class on pg_class.oid = inhrelid
    where inhparent = 'predictions'::regclass and relname ~ '^predictions_\d{8}$'
      and (to_date(right(relname, 8), 'YYYYMMDD') + 1)::timestamp at time zone 'UTC' <= before
    order by relname limit 1;
  if oldest is not null then
    execute format('drop table %I', oldest);
  end if;
  return oldest;
end $$;

select make_prediction_day((now() at time zone 'UTC')::date + ahead) from generate_series(0, 7) as ahead;

-- The newest requests that a version failed, with their inputs: for people, and to ask the former version the same before a rollback.
-- A sample: a replica keeps at most some rows of an arm between two writes, and each version keeps its newest rows.
create table failed_requests (
  -- As predictions.id.
  id uuid primary key,
  at timestamptz not null,
  model text not null,
  version text not null,
  arm text not null,
  release_id text,
  replica text not null,
  -- The error code of the answer, and its message.
  code text not null,
  message text not null,
  routing_key text,
  instances integer not null,
  -- As predictions.features.
  features bytea not null,
  latency_us integer not null
);
create index failed_requests_by_version on failed_requests (version, at desc);

-- The number of rows each API process has stored in the prediction log. `stored` is written in the same transaction as the
-- rows, so that it is exact across crashes, lost connections and lost responses.
create table prediction_log_accounts (
  account text primary key,
  stored bigint not null default 0,
  -- Set when the process has ended and its spool is empty; then served = stored + dropped.
  served bigint,
  dropped bigint,
  settled_at timestamptz,
  check (settled_at is null or served = stored + dropped)
);
