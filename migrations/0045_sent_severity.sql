-- The kind and severity of the alert when the notification was sent: an Alertmanager is told the end of an alert under its former labels.
alter table alert_notifications add column sent_as jsonb;
