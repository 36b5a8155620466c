-- Revokes privileges that Postgres grants to every role, so that a query of a batch or a source can neither hold a lock that Tenure waits
-- for nor lift its own timeout. Run in the database of Tenure as a superuser; its owner lacks the rights.
do $$
declare
  each record;
begin
  for each in select oid::regprocedure as name from pg_proc
    where pronamespace = 'pg_catalog'::regnamespace and (proname ~ '^pg_(try_)?advisory_'
      or proname in ('pg_notify', 'pg_terminate_backend', 'pg_cancel_backend', 'set_config', 'pg_logical_emit_message'))
  loop
    execute format('revoke execute on function %s from public', each.name);
    execute format('grant execute on function %s to tenure, tenure_app, tenure_scoped', each.name);
  end loop;
end $$;
