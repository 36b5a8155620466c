-- Creates the roles and databases of Tenure and Temporal. Run once by psql as a superuser, with the passwords in the environment; the
-- container image of Postgres does so at its first start.
--
--   tenure          owns the tables and migrates
--   tenure_app      runs the workers and replicas: it can add to the audit log and not change it
--   tenure_scoped   what tenure_app becomes for a key of some models: it has the rows of these models alone
--   tenure_reader   runs queries of batches and sources: it reads what is granted to it
--   temporal        owns Temporal's own databases
\getenv owner_password TENURE_OWNER_PASSWORD
\getenv app_password TENURE_APP_PASSWORD
\getenv reader_password TENURE_READER_PASSWORD
\getenv temporal_password TEMPORAL_PASSWORD
create role tenure login password :'owner_password';
create role tenure_app login password :'app_password';
create role tenure_scoped nologin;
create role tenure_reader login password :'reader_password';
create role temporal login createdb password :'temporal_password';
-- The migration hands the partitions of the prediction log over to tenure_app.
grant tenure_app to tenure;
grant tenure_scoped to tenure, tenure_app;
create database tenure owner tenure;
revoke all on database tenure from public;
grant connect on database tenure to tenure_app, tenure_reader;
\connect tenure
\ir include/reader.sql
