-- What the pages read: lists that go on where the last page ended, by an index and not by counting rows from the start.

create index audit_by_actor on audit (actor, seq);
create index audit_by_action on audit (action, seq);
create index audit_by_subject on audit (subject, seq);

create index drills_by_start on drills (started_at, id);
create index retrainings_by_model on retrainings (model, started_at);
create index snapshots_by_creation on snapshots (created_at, digest);
create index snapshots_by_model on snapshots (model, created_at, digest);
create index validations_by_snapshot on validations (snapshot_digest, created_at);

-- The last window of each week in which something was measured.
create index quality_judgements_measured on quality_judgements (model, to_at) where level <> 'insufficient';
create index drift_judgements_by_time on drift_judgements (model, subject, to_at);
