-- Whether a definition would change a view that models other than these use, in their file or in a version. Row-level security hides those
-- models from the key that asks, so the question is asked with the rights of the owner, and answered with yes or no.
create function changes_view_of_others(view jsonb, models text[]) returns boolean
language sql stable security definer set search_path = public, pg_temp
  return exists (select from feature_views where digest = view ->> 'digest' and definition <> view)
    and (exists (select from models as other where not other.name = any(changes_view_of_others.models)
        and jsonb_path_exists(other.definition, '$.views[*] ? (@.digest == $digest)', jsonb_build_object('digest', view ->> 'digest')))
      or exists (select from versions where not versions.model = any(changes_view_of_others.models)
        and jsonb_path_exists(versions.manifest, '$.features.*.from ? (@.digest == $digest)', jsonb_build_object('digest', view ->> 'digest'))));

-- A key of some models changes no view of another model, whichever statement it runs.
do $$
begin
  if exists (select from pg_roles where rolname = 'tenure_scoped') then
    create policy views_of_these_models on feature_views as restrictive for update to tenure_scoped
      using (true)
      with check (not changes_view_of_others(definition, current_setting('tenure.models')::text[]));
    revoke delete on feature_views from tenure_scoped;
    revoke insert, update, delete on feature_history, feature_latest from tenure_scoped;
  end if;
end $$;
