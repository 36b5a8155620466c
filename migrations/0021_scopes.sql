-- The role in which a replica runs the statements of a key of some models. Row-level security shows it the rows of these models, lets it
-- write these alone, and hides every table that is not named here. Processes that act by themselves keep their own role and see all rows.

-- Whether the key of this transaction may use a model. Fails where no key is set.
create function scope_allows(model text) returns boolean language sql stable
  return model = any (current_setting('tenure.models')::text[]);

-- Declares how the rows of a table belong to models: a condition over its columns. The rows of a table that it reads are restricted too.
create procedure scope_rows(name text, belongs text) language plpgsql as $$
begin
  if not exists (select from pg_roles where rolname = 'tenure_scoped') then return; end if;
  execute format('alter table %I enable row level security', name);
  execute format('create policy every_row on %I to tenure_app using (true) with check (true)', name);
  execute format('create policy rows_of_models on %I to tenure_scoped using (%s) with check (%2$s)', name, belongs);
  execute format('grant select, insert, update, delete on %I to tenure_scoped', name);
end $$;

-- Declares why a table is of the installation, and hidden from the keys of some models.
create procedure scope_hidden(name text, reason text) language plpgsql as $$
begin
  execute format('comment on table %I is %L', name, 'hidden from keys of some models: ' || reason);
end $$;

-- Declares why the rows of a table belong to no model, and lets a key of some models read it.
create procedure scope_exempt(name text, reason text) language plpgsql as $$
begin
  execute format('comment on table %I is %L', name, 'read by every key: ' || reason);
  if exists (select from pg_roles where rolname = 'tenure_scoped') then
    execute format('grant select on %I to tenure_scoped', name);
  end if;
end $$;

do $$
declare
  each record;
begin
  if not exists (select from pg_roles where rolname = 'tenure_app') then
    return;
  end if;
  if not exists (select from pg_roles where rolname = 'tenure_scoped') then
    begin
      create role tenure_scoped nologin;
    exception
      when duplicate_object or unique_violation then null;
      when insufficient_privilege then
        raise notice 'no role for the keys of some models: %', sqlerrm;
        return;
    end;
  end if;
  if not pg_has_role('tenure_app', 'tenure_scoped', 'member') then
    grant tenure_scoped to tenure_app;
  end if;
  if not pg_has_role(current_user, 'tenure_scoped', 'member') then
    execute format('grant tenure_scoped to %I', current_user);
  end if;
  grant usage on schema public to tenure_scoped;
  grant usage on all sequences in schema public to tenure_scoped;
  alter default privileges in schema public grant usage on sequences to tenure_scoped;
  if (select rolsuper from pg_roles where rolname = current_user) then
    for each in select oid::regprocedure as name from pg_proc
      where pronamespace = 'pg_catalog'::regnamespace and (proname ~ '^pg_(try_)?advisory_' or proname in ('pg_notify', 'set_config'))
    loop
      execute format('grant execute on function %s to tenure_scoped', each.name);
    end loop;
  end if;
end $$;

-- A table with a column of this name belongs to the model in it.
do $$
declare
  each record;
begin
  for each in select relname as name from pg_attribute join pg_class on pg_class.oid = attrelid
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition and attname = 'model'
  loop
    call scope_rows(each.name, 'scope_allows(model)');
  end loop;
end $$;

call scope_rows('models', 'scope_allows(name)');
call scope_rows('version_metrics', 'exists (select from versions where versions.version = version_metrics.version)');
call scope_rows('decisions', 'exists (select from releases where id = release_id)');
call scope_rows('stage_clocks', 'exists (select from releases where id = release_id)');
call scope_rows('external_readings', 'exists (select from releases where id = release_id)');
call scope_rows('alert_notifications', 'exists (select from alerts where alerts.id = alert_id)');
call scope_rows('batch_shards', 'exists (select from batches where id = batch_id)');
call scope_rows('batch_predictions', 'exists (select from batches where id = batch_id)');
call scope_rows('erasure_acknowledgements', 'exists (select from erasures where id = erasure_id)');
call scope_rows('erasure_snapshots', 'exists (select from erasures where id = erasure_id)');
call scope_rows('outcomes', 'exists (select from predictions where id = request_id)');
call scope_rows('feature_views', 'exists (select from models
  where jsonb_path_exists(models.definition, ''$.views[*] ? (@.digest == $digest)'', jsonb_build_object(''digest'', digest)))');
call scope_rows('feature_history', 'exists (select from feature_views where id = view_id)');
call scope_rows('feature_latest', 'exists (select from feature_views where id = view_id)');
-- A kill switch and a model have the name of the model, a schedule the name behind its kind: `retrain/iris`.
call scope_rows('applied_state', 'kind in (''model'', ''killSwitch'') and scope_allows(name)
  or kind = ''schedule'' and scope_allows(substr(name, strpos(name, ''/'') + 1))');
-- The response to a command belongs to the key that gave it.
call scope_rows('idempotent_requests', 'key_id = current_setting(''tenure.key'')');

call scope_exempt('replicas', 'a command waits for each of them');
call scope_exempt('routing_epochs', 'the number of the life of the database');
call scope_exempt('deleted_artifacts', 'digests of artifacts whose bytes are gone');
call scope_exempt('erased_requests', 'ids of requests without model, key or person');
call scope_exempt('migrations', 'the version of the schema');

call scope_hidden('api_keys', 'only a key of all models may see or make keys');
call scope_hidden('revoked_sessions', 'a session is read before its key is known');
call scope_hidden('sign_in_codes', 'a code is read before its key is known');
call scope_hidden('alert_channels', 'a channel receives the alerts of all models');
call scope_hidden('sent_alerts', 'the process that sends alerts keeps it');
call scope_hidden('replica_resources', 'the memory of replicas is in metrics, which need a key of all models');
call scope_hidden('prediction_log_accounts', 'counts over all models');
call scope_hidden('prediction_numbering', 'the log of all models');
call scope_hidden('prediction_topics', 'the log of all models');
call scope_hidden('stream_positions', 'a stream needs a key of all models');
call scope_hidden('integrations', 'the systems that are told of all models');
call scope_hidden('integration_outbox', 'triggers fill it, whatever the role');

-- One row holds the names of the models without a file, with which the name of a visible model is compared.
call scope_rows('service_state', 'not starts_with(name, ''model_change/'')');

do $$
begin
  if exists (select from pg_roles where rolname = 'tenure_scoped') then
    revoke insert, update, delete on service_state from tenure_scoped;
    revoke update, delete on audit from tenure_scoped;
    -- A snapshot is of the model that took it first, and read by each that has validated it.
    create policy validated_by_models on snapshots for select to tenure_scoped
      using (exists (select from validations where snapshot_digest = digest));
  end if;
end $$;

-- The owner of a table may COPY into it in spite of row-level security.
do $$
begin
  alter table batch_predictions owner to tenure_app;
exception
  when undefined_object or insufficient_privilege then raise notice 'the predictions of batches stay with the owner: %', sqlerrm;
end $$;

-- A trigger queues what other systems are told of a row, whatever the role that has written the row.
alter function enqueue_mlflow(text, text) security definer set search_path = public, pg_temp;
alter function is_integration_active(text) security definer set search_path = public, pg_temp;

-- The newest link of the chain, to which a row of any model is appended.
create function last_audit_link() returns table (seq bigint, hash bytea) language sql stable security definer set search_path = public, pg_temp
  as 'select seq, hash from public.audit order by seq desc limit 1';
