-- Reviews: what people said of answers that the model was not sure of. They stand apart from outcomes, because they come from a selected
-- band, and a judge that read them would find the model worse than it is.

create table reviews (
  prediction_id uuid primary key,
  -- Joins predictions.id.
  request_id uuid not null generated always as (request_of(prediction_id)) stored,
  model text not null references models (name),
  value jsonb not null,
  reviewed_by text not null,
  reviewed_at timestamptz not null default now()
);
create index reviews_by_request on reviews (request_id);
create index reviews_by_model on reviews (model, reviewed_at);
