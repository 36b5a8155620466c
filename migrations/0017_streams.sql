-- What has been sent to topics of a message broker: the audit log, alerts, and the prediction log.

-- How far the audit log has been sent.
create table stream_positions (
  -- What is sent, and the topic.
  name text primary key,
  -- The last row of the audit log that the broker has confirmed.
  seq bigint not null
);

-- What of the alerts has been sent. Rows go once everything of an alert is sent.
create table sent_alerts (
  topic text not null,
  alert_id bigint not null references alerts (id) on delete cascade,
  about text not null check (about in ('raised', 'acknowledged', 'resolved')),
  primary key (topic, alert_id, about)
);

-- What of the prediction log has been sent. Rows are sent in the order of the transactions that stored them: an identity or a time would
-- be skipped where a smaller one is committed after a greater one.
create table prediction_topics (
  topic text primary key,
  -- Requests of earlier days are not sent, nor what earlier transactions have stored.
  begins_at timestamptz not null default date_trunc('day', now(), 'UTC'),
  begins_after bigint not null,
  -- The last row that the broker has confirmed.
  stored_in bigint not null,
  at timestamptz not null default 'infinity',
  id uuid not null default '00000000-0000-0000-0000-000000000000',
  -- Rows up to there.
  sent bigint not null default 0
);

-- What is added to the number of a transaction: a restored database counts its transactions from the start again.
create table prediction_numbering (ahead bigint not null);

-- Numbers the rows that are stored from now on. Once more changes nothing. Gives up where it would wait, because writers would queue behind it.
-- Only days from the first topic on get an index, and the days that are made later.
create function number_predictions() returns void language plpgsql set lock_timeout = '200ms' as $$
declare
  first_day text := to_char(coalesce((select min(begins_at) from prediction_topics), now()) at time zone 'UTC', 'YYYYMMDD');
  sent bigint := (select max(stored_in) from prediction_topics);
  known bigint := (select max(ahead) from prediction_numbering);
  is_numbered boolean := exists (
    select from pg_attribute where attrelid = 'predictions'::regclass and attname = 'stored_in' and atthasdef);
  part name;
begin
  if is_numbered and txid_current() + known > coalesce(sent, 0) then
    return;
  end if;
  perform pg_advisory_xact_lock(hashtext('prediction days'));
  for part in select relname from pg_inherits join pg_class on pg_class.oid = inhrelid
    where inhparent = 'predictions'::regclass and (relname = 'predictions_default' or right(relname, 8) >= first_day) order by relname
  loop
    execute format('create index if not exists %I on %I (stored_in) where stored_in is not null', part || '_stored_in_idx', part);
  end loop;
  create index if not exists predictions_by_transaction on only predictions (stored_in) where stored_in is not null;
  known := greatest(0, 1 - txid_current() + greatest(sent, (select max(stored_in) from predictions
    where stored_in is not null and at >= to_date(first_day, 'YYYYMMDD')::timestamp at time zone 'UTC')));
  delete from prediction_numbering;
  insert into prediction_numbering values (known);
  execute format('alter table only predictions alter column stored_in set default (txid_current() + %s)', known);
end $$;
