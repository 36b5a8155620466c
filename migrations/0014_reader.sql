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
