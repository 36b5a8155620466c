-- Erasure of a data subject's rows. A subject is stored only as a hash that cannot be guessed without the installation's signing
-- key. The row remains, so that later rows of the subject are kept out.

create table erasures (
  id text primary key,
  model text not null references models (name) on delete cascade,
  subject_hash text not null,
  -- The hash of the number that the key of an erased person writes; null for another key. A person who was erased while the subject column
  -- was a text is found by it where the column is a number.
  number_hash text,
  -- Digest of the key of the hash.
  key_digest text not null,
  -- Requests that were named in addition to the subject.
  requests uuid[] not null default '{}',
  requested_by text not null,
  requested_at timestamptz not null default clock_timestamp(),
  stage text not null default 'logs' check (stage in ('logs', 'replicas', 'again', 'rest', 'snapshots', 'done', 'nothing_found')),
  -- The log is processed up to here in this stage.
  reached_at timestamptz,
  -- Erased rows, by place.
  counts jsonb not null default '{}',
  -- Replicas that did not confirm in time that they hold no earlier rows.
  outstanding text[] not null default '{}',
  notes text[] not null default '{}',
  ended_at timestamptz,
  -- Whether the subject column is a number, which is 4711 in one place and 4711.0 in another: then texts that write the same number name
  -- the subject.
  is_number boolean not null default false,
  check ((stage in ('done', 'nothing_found')) = (ended_at is not null))
);
create unique index erasures_one_open on erasures (model, subject_hash) where ended_at is null;

-- Erased requests. Their later outcomes are discarded, and their rows still spooled on a disk are not stored.
create table erased_requests (
  id uuid primary key,
  erased_at timestamptz not null default now()
);
create index erased_requests_by_time on erased_requests (erased_at);

-- A replica confirms that every row it had served before it read of the erasure is in the log.
create table erasure_acknowledgements (
  erasure_id text not null references erasures (id) on delete cascade,
  replica_id text not null references replicas (id) on delete cascade,
  at timestamptz not null default now(),
  primary key (erasure_id, replica_id)
);

-- Earlier snapshots that hold the subject, or may hold it. A row cannot be removed from a file that is named by its content, so
-- the complete file is deleted.
create table erasure_snapshots (
  erasure_id text not null references erasures (id) on delete cascade,
  digest text not null references snapshots (digest) on delete cascade,
  holds text not null check (holds in ('yes', 'unknown')),
  drop_after timestamptz not null,
  primary key (erasure_id, digest)
);
create index erasure_snapshots_by_time on erasure_snapshots (drop_after);
create index erasure_snapshots_by_digest on erasure_snapshots (digest);

-- The subject hash as store/signing/subject-hash.ts computes it: hexadecimal SHA-256 of the key and the text; null for null.
create function subject_hash_of(key text, subject text) returns text language sql immutable strict parallel safe
  return encode(sha256(convert_to(key || subject, 'UTF8')), 'hex');

-- The one text of a number, as `canonicalNumber` of domain/values/names.ts writes it; null for another text. Neither function is strict, because Postgres
-- would not inline it.
create function canonical_number(given text) returns text language sql immutable parallel safe as $$
  select case when length(given) > 400 then null
    when given ~ '^(0|-?[1-9][0-9]*)$' then given
    when given ~ '^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$' then trim_scale(given::numeric)::text end
$$;

-- The hashes under which a text may be erased: as it is written, and as the number that it is.
create function subject_hashes_of(key text, subject text, is_number boolean) returns text[] language sql immutable parallel safe as $$
  select case when is_number and canonical_number(subject) <> subject
    then array[subject_hash_of(key, subject), subject_hash_of(key, canonical_number(subject))]
    else array[subject_hash_of(key, subject)] end
$$;

-- Whether a request belongs to a subject: by its routing key, or by the subject feature of one of its instances.
create function belongs_to_subject(
  key text, hash text, is_number boolean, subject text, fits jsonb, routing_key text, features bytea, instances integer
) returns boolean language plpgsql immutable parallel safe as $$
declare
  instance integer;
begin
  if hash = any(subject_hashes_of(key, routing_key, is_number)) then
    return true;
  end if;
  if subject is null or features = '' or not exists (
    select from jsonb_array_elements(fits) as fit where fit ->> 'name' = subject and fit ->> 'kind' <> 'number') then
    return false;
  end if;
  for instance in 0 .. instances - 1 loop
    if hash = any(subject_hashes_of(key, instance_of(features, fits, instances, instance) ->> subject, is_number)) then
      return true;
    end if;
  end loop;
  return false;
end $$;
