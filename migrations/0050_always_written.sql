-- A number that names a person has one hash.
alter table erasures drop column former_hashes;
