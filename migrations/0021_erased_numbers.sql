-- The hash of the number that the key of an erased person writes; null for another key, and for erasures from before this column. A person
-- who was erased while the subject column was a text is found by it where the column is a number.
alter table erasures add column number_hash text;
