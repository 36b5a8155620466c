-- The audit log, which can be appended to and read, but not changed.

-- Hash-chained: each row's hash covers its content and the hash before it.
create table audit (
  seq bigint primary key,
  at timestamptz not null,
  actor text not null,
  action text not null,
  subject text not null,
  model text,
  detail jsonb not null,
  previous_hash bytea not null,
  hash bytea not null,
  -- The signature of the process that has written the row (Ed25519 over its hash); null for a process without a key.
  signature bytea
);
create index audit_by_model on audit (model, seq);
create index audit_by_actor on audit (actor, seq);
create index audit_by_action on audit (action, seq);
create index audit_by_subject on audit (subject, seq);

-- Trigger audit_is_append_only: refuses every update, delete and truncate for every role. It is the second line of defence; the
-- first are the privileges of the application's role.
create function forbid_update() returns trigger language plpgsql as $$
begin
  raise exception 'the audit log is append-only: % is refused', lower(tg_op)
    using errcode = 'insufficient_privilege', hint = 'Correct a wrong row by appending another one.';
end $$;
create trigger audit_is_append_only before update or delete or truncate on audit
  for each statement execute function forbid_update();
-- Also for a session that disables triggers as replication does.
alter table audit enable always trigger audit_is_append_only;
