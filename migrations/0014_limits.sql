-- What a training may take of a machine, and the artifacts of its disk.

-- How often the process of a training died for want of memory; another machine may have more, but not for ever.
alter table trainings add column memory_failures integer not null default 0;

-- Artifacts whose files were given up, so that the rest stays within its budget. The rows that name one still say what it was;
-- nothing that answers, or that could be returned to, is among them. Trained again to the same bytes, it is back.
create table collected_artifacts (
  -- Of the manifest.
  digest text primary key,
  collected_at timestamptz not null default now()
);
create index trainings_by_artifact on trainings (artifact_digest);
create index evaluations_by_artifact on evaluations (artifact_digest);
create index versions_by_artifact on versions (artifact_digest);
