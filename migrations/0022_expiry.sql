-- Retention finds the expired rows of these tables by their time. They are appended in its order, so that a small index serves.
create index failed_requests_by_expiry on failed_requests using brin (at);
create index drift_judgements_by_expiry on drift_judgements using brin (at);
create index quality_judgements_by_expiry on quality_judgements using brin (at);
create index serving_judgements_by_expiry on serving_judgements using brin (at);
create index monitor_windows_by_expiry on monitor_windows using brin (at);
create index integration_outbox_by_expiry on integration_outbox using brin (at);
create index prediction_log_accounts_by_expiry on prediction_log_accounts using brin (settled_at);
