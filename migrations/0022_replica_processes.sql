-- The machine and the process of a replica, so that the next one on the machine can end the lease of one that was killed.
alter table replicas add column machine text, add column process text;
