-- The key that asked for a prediction, and the role of keys that send outcomes.

-- The id of the key; `public` for a request without one, where predictions are public. Null in rows that were written before this column.
alter table predictions add column key_id text;

alter table api_keys drop constraint api_keys_role_check;
alter table api_keys add constraint api_keys_role_check
  check (role in ('viewer', 'predictor', 'labeller', 'operator', 'approver', 'admin'));
