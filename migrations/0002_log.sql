-- The prediction log by days, so that what is too old goes with a dropped table and not row by row, and the account of
-- every process that has written to it.

-- When the request of a prediction was made, which its id tells (UUID v7); null for ids that tell nothing. The log is
-- partitioned by time: whoever looks a prediction up by its id alone would ask every day there is.
create function moment_of(prediction_id uuid) returns timestamptz language sql immutable strict parallel safe
  return case when get_byte(uuid_send(prediction_id), 6) >> 4 = 7 then to_timestamp((
    (get_byte(uuid_send(prediction_id), 0)::bigint << 40) + (get_byte(uuid_send(prediction_id), 1)::bigint << 32)
    + (get_byte(uuid_send(prediction_id), 2)::bigint << 24) + (get_byte(uuid_send(prediction_id), 3)::bigint << 16)
    + (get_byte(uuid_send(prediction_id), 4)::bigint << 8) + get_byte(uuid_send(prediction_id), 5)) / 1000.0) end;

-- The smallest id of a moment.
create function first_id_at(moment timestamptz) returns uuid language sql immutable strict parallel safe
  return (lpad(to_hex((extract(epoch from moment) * 1000)::bigint), 12, '0') || '70000000000000000000')::uuid;

-- Partitions made from now on keep large values as those before them do.
alter table predictions alter column features set storage external, alter column outputs set storage external;

-- Makes the partition of a day, in UTC. Answers whether it has: not when it is there, and not when rows of that day stand in
-- the default partition already, where they may stay. Gives up after a second behind somebody who reads, for those who write
-- would wait behind it.
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

-- Drops the oldest day that ended before the moment. Answers its name; null when there is none any more.
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

-- What a process of the API has put into the prediction log. `stored` is written in the same transaction as the rows, so it
-- is what stands there, whatever happened to the process, the connection or the answer.
create table log_accounts (
  account text primary key,
  stored bigint not null default 0,
  -- Known when the process has ended and nothing of it waits on a disk any more; then served = stored + dropped.
  served bigint,
  dropped bigint,
  opened_at timestamptz not null default now(),
  settled_at timestamptz,
  check (settled_at is null or served = stored + dropped)
);

-- What retention looks for.
create index shadow_pairs_by_time on shadow_pairs (at);
create index tick_counters_by_tick on tick_counters using brin (tick);
create index feature_counts_by_hour on feature_counts using brin (hour);
