-- A retraining whose artifact is the champion's, or that of a version which was rolled back, ends as `unchanged`.
alter table retrainings drop constraint retrainings_outcome_check;
alter table retrainings add constraint retrainings_outcome_check check (outcome in
  ('released', 'registered', 'unchanged', 'quarantined', 'not_better', 'insufficient', 'failed', 'cancelled', 'throttled'));
