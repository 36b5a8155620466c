-- The looked-up features of a frozen batch with the number of rows for which nothing was found: [{"feature", "rows"}]. Null without lookups.
alter table batches add column not_found jsonb;
