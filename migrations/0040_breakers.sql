-- A replica whose circuit breaker has dropped the candidate says so with its counts.
alter table tick_counters add column breaker_open boolean not null default false;
