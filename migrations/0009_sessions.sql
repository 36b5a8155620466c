-- Sessions of the dashboard that people have ended. A session itself is a signed cookie and stands nowhere: without this table a
-- copy of the cookie would open until its end, however often its owner signed out.
create table ended_sessions (
  id text primary key,
  -- Its own end; after it the row says nothing more.
  until timestamptz not null
);
create index ended_sessions_by_end on ended_sessions (until);
