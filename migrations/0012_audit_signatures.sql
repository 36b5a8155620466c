-- The signature of the process that has written the row (Ed25519 over its hash); null in rows that were written before signatures.
alter table audit add column signature bytea;
