/** Describes each environment variable and its computed default. */

interface Variable {
  group: string
  meaning: string
  otherwise?: string
}

const servers = 'Servers'
const here = 'This machine'
const api = 'The API'
const worker = 'Workers'
const command = 'The command'
const keeping = 'What is kept'
const mirrors = 'Integrations that receive trainings, versions and releases'
const people = 'Signing in with an identity provider'
const inside = 'Set by `tenure up`'

export const variables: Readonly<Record<string, Variable>> = {
  DATABASE_URL: {
    group: servers,
    otherwise: 'an embedded Postgres 18',
    meaning: 'The database. The processes need a role that cannot change the audit log.',
  },
  TENURE_OWNER_DATABASE_URL: {
    group: servers,
    otherwise: 'the role of `DATABASE_URL`',
    meaning: 'The owner of the tables, for migrations.',
  },
  TEMPORAL_ADDRESS: {
    group: servers,
    otherwise: 'an embedded development server',
    meaning: 'Host and port of the Temporal frontend.',
  },
  TEMPORAL_NAMESPACE: { group: servers, otherwise: '`default`', meaning: 'The namespace of the workflows.' },
  TEMPORAL_API_KEY: { group: servers, meaning: 'The key of Temporal Cloud.' },
  TEMPORAL_TLS: {
    group: servers,
    meaning: 'Whether the connection is encrypted; always on with an API key.',
  },
  TEMPORAL_TLS_CLIENT_CERT_PATH: {
    group: servers,
    meaning: 'The client certificate for mutual TLS, as a file …',
  },
  TEMPORAL_TLS_CLIENT_CERT_DATA: { group: servers, meaning: '… or as PEM.' },
  TEMPORAL_TLS_CLIENT_KEY_PATH: { group: servers, meaning: 'Its key, as a file …' },
  TEMPORAL_TLS_CLIENT_KEY_DATA: { group: servers, meaning: '… or as PEM.' },
  TEMPORAL_TLS_SERVER_CA_CERT_PATH: {
    group: servers,
    meaning: 'The authority that the server is checked against, as a file …',
  },
  TEMPORAL_TLS_SERVER_CA_CERT_DATA: { group: servers, meaning: '… or as PEM.' },
  TEMPORAL_TLS_SERVER_NAME: {
    group: servers,
    meaning: 'The name expected in the certificate of the server.',
  },
  TEMPORAL_TLS_DISABLE_HOST_VERIFICATION: {
    group: servers,
    meaning: 'Whether to skip the check of that name.',
  },
  TEMPORAL_CONFIG_FILE: {
    group: servers,
    meaning: "A profile file of Temporal's, where the variables are not set.",
  },
  TEMPORAL_PROFILE: { group: servers, otherwise: '`default`', meaning: 'The profile in it.' },
  TEMPORAL_CODEC_ENDPOINT: { group: servers, meaning: 'Read with the profile; not used.' },
  TEMPORAL_CODEC_AUTH: { group: servers, meaning: 'Read with the profile; not used.' },

  TENURE_STATE: {
    group: here,
    otherwise: '`.tenure` in the checkout',
    meaning:
      "What belongs to this machine alone: embedded servers' data, log, routing cache, spool. As root, where the checkout lies in a closed directory, below `/var/lib/tenure`.",
  },
  TENURE_ARTIFACTS: {
    group: here,
    otherwise: '`$TENURE_STATE/artifacts`',
    meaning: 'Artifacts, snapshots and checkpoints; shared by workers and replicas.',
  },
  TENURE_SIGNING_KEY: {
    group: here,
    otherwise: '`$TENURE_STATE/keys/signing.pem`',
    meaning:
      'Signs versions, remembered routes, commands and the head of the audit; the same file on every machine.',
  },
  TENURE_UNSIGNED_SIGNALS: {
    group: here,
    otherwise: '`on` where Temporal is on loopback, else `off`',
    meaning: 'Whether signals without a signature are accepted.',
  },
  TENURE_BATCHES: {
    group: here,
    otherwise: '`$TENURE_STATE/batches`',
    meaning: 'Directory of batch files.',
  },
  TENURE_ALERT_CHANNELS: {
    group: here,
    otherwise: '`$TENURE_STATE/alert-channels.json`',
    meaning: 'Recipients of alerts; read for every alert.',
  },
  TENURE_RUNBOOKS: {
    group: here,
    otherwise: '`docs/runbooks` in the checkout',
    meaning: 'Location of the runbooks that alerts link to: a directory or a URL.',
  },
  TENURE_CACHE: {
    group: here,
    otherwise: '`~/.cache/tenure`',
    meaning: 'Cache of the set-up: the TensorFlow library and the Temporal server.',
  },
  LOG_LEVEL: { group: here, meaning: 'Minimum level of log lines.' },

  TENURE_HOST: { group: api, meaning: 'Where the API listens.' },
  TENURE_PORT: { group: api, meaning: 'Port of the API; `0` means any free port.' },
  TENURE_PUBLIC_PREDICTIONS: { group: api, meaning: '`on`: predictions and outcomes need no key.' },
  TENURE_PREDICTION_LOG: {
    group: api,
    meaning: '`durable`: an answer leaves after its row is committed, or as 503 within about a second.',
  },
  TENURE_PREDICTION_CACHE: {
    group: api,
    meaning: 'Maximum cached predictions, by exact row and version, of models that are not compiled.',
  },
  TENURE_FAST_PATH: {
    group: api,
    meaning:
      '`off`: Node’s HTTP server parses every request, also predictions. Slower; see `api/transport/README.md`.',
  },
  TENURE_REPLICA_LEASE_MS: {
    group: api,
    meaning:
      'How long a replica follows its route without the database; then it serves known-good versions only.',
  },
  TENURE_DRILLS: { group: api, meaning: '`on`: faults may be switched on for a version.' },

  TENURE_KEEP_PREDICTIONS_DAYS: {
    group: keeping,
    meaning: 'Retention of predictions; whole days are deleted with all related rows.',
  },
  TENURE_KEEP_JUDGEMENTS_DAYS: { group: keeping, meaning: 'Retention of monitoring results.' },
  TENURE_KEEP_ERASED_SNAPSHOTS_DAYS: {
    group: keeping,
    meaning: 'Retention of snapshots that hold an erased subject; `0` deletes them within the hour.',
  },
  TENURE_KEEP_ARTIFACTS_MB: {
    group: keeping,
    meaning:
      'How many MiB of artifacts and snapshots are kept. Beyond it the oldest go that nothing needs: first snapshots without a model, candidates that came to nothing, versions that were never released, then old champions.',
  },

  TENURE_OIDC_ISSUER: {
    group: people,
    meaning: 'The issuer of an OpenID Connect provider; without it, users sign in with keys only.',
  },
  TENURE_OIDC_CLIENT_ID: { group: people, meaning: 'Client id of Tenure at the provider.' },
  TENURE_OIDC_CLIENT_SECRET: { group: people, meaning: 'Client secret; absent for a public client.' },
  TENURE_OIDC_REDIRECT: {
    group: people,
    meaning: 'The address of `/sign-in/callback` as browsers reach it.',
  },
  TENURE_OIDC_NAME_CLAIM: {
    group: people,
    otherwise: '`email`',
    meaning: 'Claim with the user name; prefixed with `sso.` in the audit log.',
  },
  TENURE_OIDC_ROLE_CLAIM: {
    group: people,
    otherwise: '`groups`',
    meaning: 'Claim that determines the roles.',
  },
  TENURE_OIDC_ROLES: {
    group: people,
    meaning:
      'Mapping from claim values to roles, such as `ml-approvers=approver,staff=viewer`; the first match counts.',
  },

  TENURE_CONTROL_QUEUE: {
    group: worker,
    otherwise: '`tenure-control`',
    meaning: 'The task queue of workflows and short activities.',
  },
  TENURE_TRAIN_QUEUE: {
    group: worker,
    otherwise: '`tenure-train`',
    meaning: 'The task queue of training and evaluation.',
  },
  TENURE_MAX_WORKFLOWS: { group: worker, meaning: 'Maximum concurrency of each control worker.' },
  TENURE_MAX_ACTIVITIES: { group: worker, meaning: 'Maximum concurrency of each control worker.' },
  TENURE_TRAINING_MEMORY_MB: {
    group: worker,
    otherwise: 'as much as there is',
    meaning:
      'How many MiB the process of a training or an evaluation may take; an attempt above it fails, is retried three times, and raises an alert.',
  },
  WORKER_VERSIONING: {
    group: worker,
    meaning: "`on`: Temporal's worker versioning; a release ends on the build it began with.",
  },
  TENURE_BUILD_ID: { group: worker, otherwise: 'the git revision', meaning: 'The name of this build.' },

  TENURE_MLFLOW_URL: { group: mirrors, meaning: 'An MLflow tracking server.' },
  TENURE_MLFLOW_TOKEN: { group: mirrors, meaning: 'Its key, sent as a bearer token.' },
  TENURE_OPENLINEAGE_URL: { group: mirrors, meaning: 'Where OpenLineage events are sent.' },
  TENURE_OPENLINEAGE_TOKEN: { group: mirrors, meaning: 'The key for them, sent as a bearer token.' },

  TENURE_URL: {
    group: command,
    otherwise: 'what `tenure up` runs here',
    meaning: 'Address of the API for commands.',
  },
  TENURE_KEY: { group: command, otherwise: 'the key of this machine', meaning: 'Who asks.' },
  TENURE_POSTGRES_PORT: {
    group: command,
    meaning: 'Port of the embedded Postgres; a free port is used if it is taken.',
  },
  TENURE_TEMPORAL_PORT: { group: command, meaning: 'Port of the embedded Temporal.' },
  TENURE_TEMPORAL_UI_PORT: { group: command, meaning: 'Port of the Temporal user interface.' },

  TENURE_REPLICA: {
    group: inside,
    otherwise: '`1`',
    meaning: 'Index of the API process on this machine.',
  },
  TENURE_SHARED_FD: { group: inside, meaning: 'File descriptor of the shared port.' },
}

/** Read by the set-up itself, before any package is installed. */
export const setUp: readonly { name: string; otherwise: string; meaning: string }[] = [
  {
    name: 'TEMPORAL_CLI',
    otherwise: '`temporal` on the PATH, else one that is built',
    meaning: "Temporal's command, which is also its development server.",
  },
]
