-- The highest severity that an open alert has had, and since when; null while it has the severity with which it was raised. When it
-- rises, the acknowledgement of the lower severity ends, and every channel is told again.
alter table alerts add column worst text, add column worst_since timestamptz;
