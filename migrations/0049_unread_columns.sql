-- Times that nothing reads. An account has the time at which it was settled, and a reading the window that it is about.

alter table prediction_log_accounts drop column opened_at;
alter table external_readings drop column read_at;
