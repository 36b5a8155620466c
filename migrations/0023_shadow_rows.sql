-- What the candidate of a shadow has read and answered, for the comparison with the training path: of the first copies, and of one in a
-- hundred after them. Both columns are null for the other copies.
alter table shadow_pairs
  -- As predictions.features, of this row alone.
  add column features bytea,
  -- As predictions.outputs.
  add column outputs real[];
create index shadow_pairs_with_rows on shadow_pairs (release_id, at, prediction_id) where features is not null;
