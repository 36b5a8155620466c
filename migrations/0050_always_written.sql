-- A number that names a person has one hash.
alter table erasures drop column former_hashes;

-- A replica hashes the routing key of every pair.
alter table shadow_pairs alter column entity set not null;

-- The opening of a release writes its facts.
alter table releases alter column facts set not null;
