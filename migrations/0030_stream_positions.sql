-- How far the audit log has been sent to topics of a message broker.

create table stream_positions (
  -- What is sent, and the topic.
  name text primary key,
  -- The last row of the audit log that the broker has confirmed.
  seq bigint not null
);
