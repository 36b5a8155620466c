-- Who may, and who did: what a key is allowed a second and how its secret is renewed, what was answered to a command
-- that may be repeated, and an audit that nobody who works with the database can rewrite.

alter table api_keys
  -- The secret before the last renewal opens until then.
  add column previous_hash bytea unique,
  add column previous_until timestamptz,
  -- Requests a second, and how many may come at once; unlimited when null.
  add column requests_per_second integer check (requests_per_second between 1 and 100000),
  add column burst integer check (burst between 1 and 1000000),
  add check ((previous_hash is null) = (previous_until is null)),
  add check ((requests_per_second is null) = (burst is null));

-- What was answered to a command, under the key and the name its sender gave it. The same again gets the same answer.
create table idempotent_requests (
  key_id text not null,
  name text not null,
  -- SHA-256 of method, path and body.
  request_hash bytea not null,
  -- Who works on it, while there is no answer; the time after which another process may take it over.
  holder text not null,
  held_until timestamptz not null,
  status integer,
  answer jsonb,
  at timestamptz not null default now(),
  primary key (key_id, name)
);
create index idempotent_requests_by_time on idempotent_requests (at);

create index audit_by_model on audit (model, seq);
create index release_commands_by_release on release_commands (release_id, at);

-- The second line: whoever the role is, a row of the audit stays as it was written. The first line are the privileges below.
create function refuse_rewriting() returns trigger language plpgsql as $$
begin
  raise exception 'the audit is only ever added to: % is refused', lower(tg_op)
    using errcode = 'insufficient_privilege', hint = 'A row that is wrong is corrected by a further row.';
end $$;
create trigger audit_stays before update or delete or truncate on audit
  for each statement execute function refuse_rewriting();
-- Also for a session that switches the triggers of replication off.
alter table audit enable always trigger audit_stays;

-- The role of workers, replicas and commands. It works with every table; of the audit it may read and add rows, nothing else.
-- Where the owner may not make roles, all processes share the one role there is, and only the trigger stands before them.
do $$
declare
  each record;
begin
  if not exists (select from pg_roles where rolname = 'tenure_app') then
    begin
      create role tenure_app nologin;
    exception
      -- Roles belong to the whole server: another database of it may be migrated at this moment.
      when duplicate_object or unique_violation then null;
      when insufficient_privilege then
        raise notice 'no role of its own for the application: %', sqlerrm;
        return;
    end;
  end if;
  execute format('grant connect on database %I to tenure_app', current_database());
  -- Partitions are made and dropped while the system runs, which only their owner may.
  grant usage, create on schema public to tenure_app;
  grant select, insert, update, delete on all tables in schema public to tenure_app;
  grant usage on all sequences in schema public to tenure_app;
  alter default privileges in schema public grant select, insert, update, delete on tables to tenure_app;
  alter default privileges in schema public grant usage on sequences to tenure_app;
  revoke insert, update, delete on migrations from tenure_app;
  revoke all on audit from tenure_app, public;
  grant select, insert on audit to tenure_app;
  begin
    for each in select oid::regclass as name from pg_class
      where relname = 'predictions' or oid in (select inhrelid from pg_inherits where inhparent = 'predictions'::regclass)
    loop
      execute format('alter table %s owner to tenure_app', each.name);
    end loop;
  exception
    when insufficient_privilege then raise notice 'partitions stay with the owner: %', sqlerrm;
  end;
end $$;
