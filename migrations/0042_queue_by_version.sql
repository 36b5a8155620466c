-- The page of versions asks for the last turn of each one.
create index release_queue_by_version on release_queue (version, at);
