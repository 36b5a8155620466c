-- The roles of the application and of queries from outside.

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

-- The role that reads queries from outside: of batches, of sources of models and views, and of tables with outcomes. It reads what is
-- granted to it, none of Tenure's own tables, and it takes no locks, sends no notices and ends no sessions.
do $$
declare
  each record;
begin
  if not exists (select from pg_roles where rolname = 'tenure_reader') then
    begin
      -- It may log in, but has no password until one is given to it.
      create role tenure_reader login;
    exception
      when duplicate_object or unique_violation then null;
      when insufficient_privilege then
        raise notice 'no role of its own for queries from outside: %', sqlerrm;
        return;
    end;
  end if;
  execute format('grant connect on database %I to tenure_reader', current_database());
  -- Postgres grants these functions to every role, and only a superuser can take them back; the command at start names what is left.
  -- A query could otherwise hold a lock that every audited change waits for, or lift its own deadline.
  if (select rolsuper from pg_roles where rolname = current_user) then
    for each in select oid::regprocedure as name from pg_proc
      where pronamespace = 'pg_catalog'::regnamespace and (proname ~ '^pg_(try_)?advisory_'
        or proname in ('pg_notify', 'pg_terminate_backend', 'pg_cancel_backend', 'set_config', 'pg_logical_emit_message'))
    loop
      execute format('revoke execute on function %s from public', each.name);
      if exists (select from pg_roles where rolname = 'tenure_app') then
        execute format('grant execute on function %s to tenure_app', each.name);
      end if;
    end loop;
  end if;
end $$;
