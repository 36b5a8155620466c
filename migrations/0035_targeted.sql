-- Callers who are chosen to meet a candidate before any share of the traffic: a stage and an arm of their own.

alter table releases drop constraint releases_stage_check;
alter table releases add constraint releases_stage_check check (stage in
  ('qualifying', 'awaiting_approval', 'shadow', 'targeted', 'canary', 'awaiting_decision', 'promoting', 'probation', 'rolling_back', 'ended'));

-- Not valid: its rows satisfy the narrower check already, and reading all of them would hold up every replica.
alter table tick_counters drop constraint tick_counters_arm_check;
alter table tick_counters add constraint tick_counters_arm_check
  check (arm in ('canary', 'champion', 'control', 'shadow', 'targeted')) not valid;
