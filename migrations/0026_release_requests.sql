-- Requests of releases for an approval or a decision, and their reminders.

alter table alert_notifications drop constraint alert_notifications_about_check;
alter table alert_notifications add constraint alert_notifications_about_check
  check (about in ('raised', 'reminder', 'resolved'));

-- One request or promotion is told once, also when an operator has closed its alert and several processes report it.
create unique index alerts_of_releases on alerts (dedupe_key)
  where kind in ('approval_needed', 'decision_needed', 'release_promoted');

-- Trigger releases_notify: wakes the alert dispatch through `tenure_alerts` when a release enters a stage.
create function notify_release_stage() returns trigger language plpgsql as $$
begin
  perform pg_notify('tenure_alerts', new.id);
  return null;
end $$;
create trigger releases_notify after update on releases for each row
  when (old.stage is distinct from new.stage)
  execute function notify_release_stage();
