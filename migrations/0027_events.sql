-- Events: what users did after a prediction (bought, rated, returned), which the judge of a release compares between its arms.

create table events (
  -- The sender's id, or the digest of the fields: an event that is sent again is stored once.
  id text primary key,
  -- SHA-256 of the fields, so that an id with other fields is noticed.
  digest bytea not null,
  -- Null: of every model that has served the user. An event of a prediction belongs to the model of the prediction.
  model text references models (name),
  prediction_id uuid,
  -- Joins predictions.id.
  request_id uuid generated always as (request_of(prediction_id)) stored,
  routing_key text,
  name text not null,
  value double precision not null,
  occurred_at timestamptz not null,
  arrived_at timestamptz not null default now(),
  source text not null,
  check ((prediction_id is null) <> (routing_key is null))
);
create index events_by_user on events (routing_key, name) where routing_key is not null;
create index events_by_request on events (request_id) where request_id is not null;
create index events_by_arrival on events (arrived_at);
