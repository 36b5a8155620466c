-- Identities of an identity provider. A person is an issuer and its subject; names and email addresses change owners.

alter table api_keys add column sso_issuer text, add column sso_subject text,
  add constraint api_keys_sso check ((sso_issuer is null) = (sso_subject is null));
create unique index api_keys_active_identity on api_keys (sso_issuer, sso_subject) where revoked_at is null;
