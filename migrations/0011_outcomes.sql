-- Outcomes of predictions, and the reviews of people.

create table outcomes (
  id bigint generated always as identity primary key,
  prediction_id uuid not null,
  -- Joins predictions.id; the answer is in `outputs` from instance_index * width + 1.
  request_id uuid not null generated always as (request_of(prediction_id)) stored,
  value jsonb not null,
  observed_at timestamptz not null,
  arrived_at timestamptz not null default now(),
  source text not null default 'api',
  -- A later value for the same prediction is another row; the highest revision counts.
  revision integer not null default 1,
  unique (prediction_id, revision)
);
create index outcomes_by_request on outcomes (request_id);
create index outcomes_by_arrival on outcomes (arrived_at);

-- What people said of answers that the model was not sure of. They stand apart from outcomes, because they come from a selected
-- band, and a judge that read them would find the model worse than it is.
create table reviews (
  prediction_id uuid primary key,
  -- Joins predictions.id.
  request_id uuid not null generated always as (request_of(prediction_id)) stored,
  model text not null references models (name) on delete cascade,
  value jsonb not null,
  reviewed_by text not null,
  reviewed_at timestamptz not null default now()
);
create index reviews_by_request on reviews (request_id);
create index reviews_by_model on reviews (model, reviewed_at);
