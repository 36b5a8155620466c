-- Subjects whose column is a number, which is 4711 in one place and 4711.0 or 4711.00 in another.

alter table erasures
  -- Whether the subject column is a number: then texts that write the same number name the subject.
  add is_number boolean not null default false,
  -- Hashes of the spellings in lists of earlier builds; null for an erasure that an earlier build requested.
  add former_hashes text[];

-- The one text of a number, as domain/privacy/canonical-number.ts writes it; null for another text. Neither function is strict, because Postgres
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

drop function belongs_to_subject(text, text, text, jsonb, text, bytea, integer);

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
