-- How long a lease of the replica lasts. One that reaches further was written before the clock of the database was set back.
alter table replicas add column lease_ms double precision;
