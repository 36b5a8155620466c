-- The id under which the row is in the prediction log, with the arm `batch`; null for rows that were not chosen for it.
alter table batch_predictions add column prediction_id uuid;
