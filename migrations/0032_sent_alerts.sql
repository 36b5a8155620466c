-- What of the alerts has been sent to topics of a message broker. Rows go once everything of an alert is sent.

create table sent_alerts (
  topic text not null,
  alert_id bigint not null references alerts (id) on delete cascade,
  about text not null check (about in ('raised', 'acknowledged', 'resolved')),
  primary key (topic, alert_id, about)
);
