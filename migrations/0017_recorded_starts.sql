-- What was asked to be started while Temporal was away waits beside what was said to releases. It is for a model, there is no
-- release yet, and nobody else keeps its answer.
alter table command_outbox
  alter column release_id drop not null,
  add column model text references models (name),
  add column answer jsonb,
  add column answered_at timestamptz,
  add check ((release_id is null) = (model is not null));
create unique index command_outbox_starts on command_outbox (command_id) where release_id is null;
create index command_outbox_open_starts on command_outbox (model, place) where next_at is not null;
