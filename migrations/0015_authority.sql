-- What the steps of a release decide from. A client of Temporal can write the state of a workflow, and none of this.

-- What the release was opened with. Never updated; null for releases from before this migration, which can no longer be promoted.
alter table releases add column facts jsonb;
-- The command as its sender has signed it. A route and a promotion verify it again.
alter table release_commands add column sent jsonb;
