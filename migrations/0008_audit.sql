-- The audit log, and the role of the application, which may read and append it but not change it.

-- Hash-chained: each row's hash covers its content and the hash before it.
create table audit (
  seq bigint primary key,
  at timestamptz not null,
  actor text not null,
  action text not null,
  subject text not null,
  model text,
  detail jsonb not null,
  previous_hash bytea not null,
  hash bytea not null
);
create index audit_by_model on audit (model, seq);
create index audit_by_actor on audit (actor, seq);
create index audit_by_action on audit (action, seq);
create index audit_by_subject on audit (subject, seq);

-- Trigger audit_is_append_only: refuses every update, delete and truncate for every role. It is the second line of defence; the
-- first are the privileges below.
create function forbid_update() returns trigger language plpgsql as $$
begin
  raise exception 'the audit log is append-only: % is refused', lower(tg_op)
    using errcode = 'insufficient_privilege', hint = 'Correct a wrong row by appending another one.';
end $$;
create trigger audit_is_append_only before update or delete or truncate on audit
  for each statement execute function forbid_update();
-- Also for a session that disables triggers as replication does.
alter table audit enable always trigger audit_is_append_only;

-- The role of workers, replicas and commands. It has access to every table; of the audit log it may only read and append rows.
-- Where the owner may not create roles, all processes share the owner's role, and only the trigger protects the audit log.
do $$
declare
  each record;
begin
  if not exists (select from pg_roles where rolname = 'tenure_app') then
    begin
      create role tenure_app nologin;
    exception
      -- Roles belong to the server: the migration of another database may create the role at the same moment.
      when duplicate_object or unique_violation then null;
      when insufficient_privilege then
        raise notice 'no role of its own for the application: %', sqlerrm;
        return;
    end;
  end if;
  execute format('grant connect on database %I to tenure_app', current_database());
  -- The application creates and drops partitions, which only their owner may do.
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
