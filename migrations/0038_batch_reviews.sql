-- Answers of a batch that lie in the band of their model for review. Batches that were scored before say nothing of theirs.

-- Null for a row without an answer, and for a model without a band.
alter table batch_predictions add column review boolean;

-- How many rows of the shard are for review; null for a model without a band.
alter table batch_shards add column for_review bigint;
