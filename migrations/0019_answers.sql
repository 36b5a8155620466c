-- What the judge compares without outcomes: the answers of each arm, and the pairs of a shadow by user.

alter table tick_counters
  -- Routing keys with their first request to the arm in this generation.
  add column keys bigint,
  -- How many of those keys got each answer, in the bins that the baseline fixes.
  add column answers bigint[];

-- A hash of the routing key: the pairs of one user count once. Null for the pairs of earlier builds.
alter table shadow_pairs add column entity bigint;
create index shadow_pairs_of_release on shadow_pairs (release_id, at, prediction_id);
