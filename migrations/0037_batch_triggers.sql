-- Batches of model files that start when a trigger of theirs fires.

-- The batch that it starts; absent for a retraining.
alter table trigger_firings add column batch text;

-- The firing that has asked for the attempt. A partition is the day, the parameters of the firing, both, or 'all'.
alter table batch_partitions add column firing text unique;
alter table batch_partitions drop constraint batch_partitions_reason_check;
alter table batch_partitions add constraint batch_partitions_reason_check
  check (reason in ('due', 'withdrawn', 'asked', 'fired'));
