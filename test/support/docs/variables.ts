/** Describes each environment variable. */

/** Variable → its meaning, and its default if that is computed. */
type Meanings = Readonly<Record<string, readonly [meaning: string, otherwise?: string]>>

/** Group → variables. */
export const variables: Readonly<Record<string, Meanings>> = {
  Servers: {
    DATABASE_URL: [
      'The database. The processes need a role that cannot change the audit log.',
      'an embedded Postgres 18',
    ],
    DATABASE_URL_FILE: ['… or a file that holds it; read at the start.'],
    TENURE_READER_DATABASE_URL: [
      'Postgres as the role that reads queries of batches, sources and outcome tables. It needs `select` on those tables only.',
      '`tenure_reader` at `DATABASE_URL`, without a password',
    ],
    TENURE_READER_DATABASE_URL_FILE: ['… or a file that holds it; read at the start.'],
    TENURE_OWNER_DATABASE_URL: ['The owner of the tables, for migrations.', 'the role of `DATABASE_URL`'],
    TENURE_OWNER_DATABASE_URL_FILE: ['… or a file that holds it; read at the start.'],
    TEMPORAL_ADDRESS: ['Host and port of the Temporal frontend.', 'an embedded development server'],
    TEMPORAL_NAMESPACE: ['The namespace of the workflows.', '`default`'],
    TEMPORAL_API_KEY: ['The key of Temporal Cloud.'],
    TEMPORAL_API_KEY_FILE: ['… or a file that holds it; read at the start.'],
    TENURE_PAYLOAD_KEYS: [
      'The keys that encrypt what Temporal stores, as `id:<base64 of 32 bytes>`, divided by commas or lines: the first encrypts, all decrypt. The same on every machine. See `docs/how-to/machines/encrypt-temporal.md`.',
      'payloads in clear',
    ],
    TENURE_PAYLOAD_KEYS_FILE: ['… or a file that holds them; read at the start.'],
    TEMPORAL_TLS: ['Whether the connection is encrypted; always on with an API key.'],
    TEMPORAL_TLS_CLIENT_CERT_PATH: ['The client certificate for mutual TLS, as a file …'],
    TEMPORAL_TLS_CLIENT_CERT_DATA: ['… or as PEM.'],
    TEMPORAL_TLS_CLIENT_KEY_PATH: ['Its key, as a file …'],
    TEMPORAL_TLS_CLIENT_KEY_DATA: ['… or as PEM.'],
    TEMPORAL_TLS_SERVER_CA_CERT_PATH: ['The authority that the server is checked against, as a file …'],
    TEMPORAL_TLS_SERVER_CA_CERT_DATA: ['… or as PEM.'],
    TEMPORAL_TLS_SERVER_NAME: ['The name expected in the certificate of the server.'],
    TEMPORAL_TLS_DISABLE_HOST_VERIFICATION: ['Whether to skip the check of that name.'],
    TEMPORAL_CONFIG_FILE: ["A profile file of Temporal's, where the variables are not set."],
    TEMPORAL_PROFILE: ['The profile in it.', '`default`'],
  },
  'This machine': {
    TENURE_PROJECT: [
      'The folder of the model files, the data and the settings. Its file `tenure.config.json` sets `models` (a folder), `state`, `alertChannels`, `port`, and `temporal` and `postgres` (`embedded` or `external`); its `.env` sets any variable of this page. In a checkout, a folder without that file in it or above it is refused. A variable that is set already counts first, then `.env`, then the file.',
      'the nearest folder upwards with `tenure.config.json`, else the checkout, or with the package the present folder',
    ],
    TENURE_STATE: [
      "What belongs to this machine alone: embedded servers' data, log, routing cache, spool. As root, where the checkout lies in a closed directory, below `/var/lib/tenure`.",
      '`.tenure` in the project',
    ],
    TENURE_ARTIFACTS: [
      'Artifacts, snapshots and checkpoints: a directory that all machines share or, beside TENURE_OBJECT_STORE, the copies of this machine.',
      '`$TENURE_STATE/artifacts`',
    ],
    TENURE_KEYS: [
      'The private signing keys of this machine, as `<purpose>/private.pem`: `artifacts` of workers, `heads` of the control worker, `replicas` and `certificates` of replicas. Each is created by the process that signs with it.',
      '`$TENURE_STATE/keys`',
    ],
    TENURE_TRUST: [
      'The public keys that this machine trusts, one list for each purpose; the same on every machine.',
      '`$TENURE_KEYS/public`',
    ],
    TENURE_SUBJECT_KEY: [
      'The secret that hashes erased subjects; the same file on every machine.',
      '`$TENURE_KEYS/subjects.key`',
    ],
    TENURE_BATCHES: ['Directory of batch files.', '`$TENURE_STATE/batches`'],
    TENURE_ALERT_CHANNELS: [
      'Recipients of alerts; read for every alert.',
      '`$TENURE_STATE/alert-channels.json`',
    ],
    TENURE_SECRETS: [
      'The folder with the secrets of applied alert channels and of [endpoints](../how-to/endpoints.md), each a file ([how](../how-to/projects/state-file.md)).',
      '`$TENURE_STATE/secrets`',
    ],
    TENURE_METRIC_SOURCES: [
      'Addresses and keys of the systems that external metrics, watermarks and queries of model files ask, for the workers; read for every question.',
      '`$TENURE_STATE/metric-sources.json`',
    ],
    TENURE_PRIVATE_HOSTS: [
      'The private hosts that addresses from model files, from the endpoints of versions, from `tenure apply` and from the metadata of the identity provider may reach: names, `.internal` for all names below it, addresses and ranges, such as `files.internal,127.0.0.1,10.0.0.0/8`. Addresses in the environment, in the file of alert channels and in the file of metric sources need no entry.',
      'none',
    ],
    TENURE_SOURCE_FILE_MB: ['The largest file in MiB that a source gets from a web server.'],
    TENURE_PUBLIC_URL: [
      'The public address of the pages, such as `https://tenure.example.com`; alerts link to it.',
      'the origin of `TENURE_OIDC_REDIRECT`; the address that `tenure up` listens on',
    ],
    TENURE_OUTAGE_ALERT_MS: [
      'How long Postgres is away before the control worker tells the alert channels; replicas tell half as much later if it has not.',
    ],
    TENURE_RUNBOOKS: [
      'Location of the runbooks that alerts link to: a directory or a URL.',
      '`docs/runbooks` in the checkout',
    ],
    TENURE_CACHE: [
      'Cache of the set-up (npm packages, the TensorFlow library and the Temporal server) and of the Python environments of training scripts.',
      '`~/.cache/tenure`',
    ],
    LOG_LEVEL: ['Minimum level of log lines.'],
  },
  'The object store': {
    TENURE_OBJECT_STORE: [
      'Where artifacts, snapshots and checkpoints lie for all machines: `s3://bucket/prefix`, or a directory. See `docs/how-to/machines/object-store.md`.',
      'none: `TENURE_ARTIFACTS` is shared',
    ],
    TENURE_S3_ENDPOINT: [
      'The S3 server, where it is not that of AWS.',
      '`https://s3.$AWS_REGION.amazonaws.com`',
    ],
    TENURE_S3_ADDRESSING: [
      'Whether the bucket is a part of the path or of the host.',
      '`host` at AWS, `path` with `TENURE_S3_ENDPOINT`',
    ],
    AWS_REGION: ['The region of the bucket.', '`us-east-1`'],
    AWS_ACCESS_KEY_ID: ['The id of the key for S3, of the store and of sources.'],
    AWS_ACCESS_KEY_ID_FILE: ['… or a file that holds it; read for every request.'],
    AWS_SECRET_ACCESS_KEY: ['The key.'],
    AWS_SECRET_ACCESS_KEY_FILE: ['… or a file that holds it; read for every request.'],
    AWS_SESSION_TOKEN: ['The token of a temporary key.'],
    AWS_SESSION_TOKEN_FILE: ['… or a file that holds it; read for every request.'],
  },
  'The API': {
    TENURE_HOST: ['Where the API listens.'],
    TENURE_PORT: ['Port of the API; `0` means any free port.'],
    TENURE_TLS_CERT: [
      'The certificate of the API with its intermediate authorities, as a file in PEM: the API speaks HTTPS, and gRPC too. Read again within 5 s when the file changes, and on SIGHUP. See `docs/how-to/machines/encrypt-connections.md`.',
      'plain HTTP',
    ],
    TENURE_TLS_KEY: ['Its private key, as a file in PEM without a passphrase.'],
    TENURE_TLS_CLIENT_CA: [
      'The authorities of callers, as a file in PEM: a request without a certificate that one of them has signed gets 403, except `/livez` and `/readyz`.',
      'callers need no certificate',
    ],
    TENURE_TLS_CA: [
      'An authority that commands and replicas accept for the certificate of the API, as a file in PEM, in addition to those of Node.',
    ],
    TENURE_ALLOWED_HOSTS: [
      'Names under which the API is reached, such as `tenure.example.com,.internal`. Addresses, `localhost`, TENURE_HOST and the host of TENURE_OIDC_REDIRECT are allowed too; any other name is answered with 421.',
    ],
    TENURE_CORS_ORIGINS: [
      'Origins whose pages may call the API from a browser with a key, such as `https://app.example.com,http://localhost:5173`.',
      'none',
    ],
    TENURE_PUBLIC_PREDICTIONS: ['`on`: predictions and outcomes need no key.'],
    TENURE_PREDICTION_LOG: [
      '`durable`: an answer leaves after its row is committed, or as 503 within about a second.',
    ],
    TENURE_PREDICTION_CACHE: [
      'Maximum cached predictions, by exact row and version, of models that are not compiled.',
    ],
    TENURE_FAST_PATH: [
      '`off`: Node’s HTTP server parses every request, also predictions. Slower; see `packages/http-front/README.md`.',
    ],
    TENURE_STREAMS: [
      'The file of streams, which are answered by every replica: `docs/how-to/streams/kafka.md`. It holds keys.',
      'none',
    ],
    TENURE_GRPC_PORT: [
      'Port of the Open Inference Protocol over gRPC; `0` means any free port. The second replica of a machine listens on the next port, and so on.',
      'no gRPC',
    ],
    TENURE_INVOCATIONS_MODEL: [
      'The model that `POST /invocations` of MLflow’s clients predicts with.',
      'the only model that is served',
    ],
    TENURE_REPLICA_LEASE_MS: [
      'How long a replica follows its route without the database; then it serves known-good versions only.',
    ],
    TENURE_DRILLS: ['`on`: faults may be switched on for a version.'],
  },
  Backups: {
    TENURE_BACKUP_TO: [
      'Where scheduled backups are written: `s3://bucket/prefix`, or a directory. See `docs/backup.md`.',
      'none',
    ],
    TENURE_BACKUP_HOURS: ['Hours from one scheduled backup to the next.', '`24`'],
    TENURE_BACKUP_KEEP: ['How many verified backups are kept; older ones are deleted.', '`7`'],
  },
  'What is kept': {
    TENURE_KEEP_PREDICTIONS_DAYS: [
      'Retention of predictions, and of sent model files that were rejected or replaced; whole days of predictions are deleted with all related rows. Only the counters of an open release stay until it ends; outcomes, shadow pairs and events that it is judged by go, so keep predictions for longer than a release takes, and for longer than outcomes take to arrive.',
    ],
    TENURE_KEEP_JUDGEMENTS_DAYS: ['Retention of monitoring results, and of what triggers have fired.'],
    TENURE_KEEP_PARTITIONS_DAYS: [
      'Retention of the days that batches of model files have scored, with their answers in `batch_predictions`; files stay.',
    ],
    TENURE_KEEP_ERASED_SNAPSHOTS_DAYS: [
      'Retention of snapshots that hold an erased subject; `0` deletes them within the hour.',
    ],
    TENURE_KEEP_ARTIFACTS_MB: [
      'How many MiB of artifacts and snapshots are kept. Beyond it the oldest that nothing needs are deleted: first snapshots without a model, then artifacts that are no version, versions that were never released, and old champions. The input of a batch is not counted: its file is deleted a day after it was written, once the batch has ended.',
    ],
  },
  'Signing in with an identity provider': {
    TENURE_OIDC_ISSUER: [
      'The issuer of an OpenID Connect provider; without it, users sign in with keys only.',
    ],
    TENURE_OIDC_CLIENT_ID: ['Client id of Tenure at the provider.'],
    TENURE_OIDC_CLIENT_SECRET: ['Client secret; absent for a public client.'],
    TENURE_OIDC_CLIENT_SECRET_FILE: ['… or a file that holds it; read at the start.'],
    TENURE_OIDC_REDIRECT: ['The address of `/sign-in/callback` as browsers reach it.'],
    TENURE_OIDC_SCOPE: [
      'Scopes that a sign-in asks for, separated by spaces. Some providers give `groups` only for a scope of that name.',
      '`openid email profile`',
    ],
    TENURE_OIDC_NAME_CLAIM: [
      'Claim with the user name; prefixed with `sso.` in the audit log. An email address counts only where `email_verified` is true. The user is identified by issuer and subject.',
      '`email`',
    ],
    TENURE_OIDC_ROLE_CLAIM: ['Claim that determines the roles.', '`groups`'],
    TENURE_OIDC_ROLES: [
      'Mapping from claim values to roles, such as `ml-approvers=approver,staff=viewer`; the first match counts.',
    ],
    TENURE_OIDC_KEY_DAYS: ['Days without a sign-in after which the key of a user ends.'],
  },
  Workers: {
    TENURE_CONTROL_QUEUE: ['The task queue of workflows and short activities.', '`tenure-control`'],
    TENURE_TRAIN_QUEUE: ['The task queue of training and evaluation.', '`tenure-train`'],
    TENURE_MAX_ACTIVITIES: ['How many activities a control worker runs at the same time.'],
    TENURE_TRAINING_MEMORY_MB: [
      'How many MiB the process of a training or an evaluation may take; an attempt above it fails, is retried three times, and raises an alert. The processes that read and check rows have the same limit.',
      'as much as there is; 75 % of the machine for the processes that read and check rows',
    ],
    WORKER_VERSIONING: ["`on`: Temporal's worker versioning; a release ends on the build it began with."],
    TENURE_BUILD_ID: ['The name of this build.', 'the git revision'],
  },
  'Integrations that receive trainings, versions and releases': {
    TENURE_MLFLOW_URL: ['An MLflow tracking server.'],
    TENURE_MLFLOW_TOKEN: ['Its key, sent as a bearer token.'],
    TENURE_MLFLOW_TOKEN_FILE: ['… or a file that holds it; read at the start.'],
    TENURE_OPENLINEAGE_URL: ['Where OpenLineage events are sent.'],
    TENURE_OPENLINEAGE_TOKEN: ['The key for them, sent as a bearer token.'],
    TENURE_OPENLINEAGE_TOKEN_FILE: ['… or a file that holds it; read at the start.'],
  },
  'The command': {
    TENURE_URL: ['Address of the API for commands.', 'what `tenure up` runs here'],
    TENURE_KEY: ['Who asks.', 'the key of this machine'],
    TENURE_KEY_FILE: ['… or a file that holds it; read at the start.'],
    TENURE_CLIENT_CERT: [
      'The client certificate of commands, for an API that asks for one, as a file in PEM.',
    ],
    TENURE_CLIENT_KEY: ['Its private key, as a file in PEM.'],
    TENURE_POSTGRES_PORT: ['Port of the embedded Postgres; a free port is used if it is taken.'],
    TENURE_TEMPORAL_PORT: ['Port of the embedded Temporal.'],
    TENURE_TEMPORAL_UI_PORT: [
      "Starts Temporal's own pages at this port, such as 8233. They ask for no key: a caller that reaches them can read, pause and end workflows.",
      'no pages',
    ],
  },
  'Set by `tenure up`': {
    TENURE_REPLICA: ['Index of the API process on this machine.', '`1`'],
    TENURE_SHARED_FD: ['File descriptor of the shared port.'],
    TENURE_KEPT_PORT: [
      'The port at which the metrics of the predecessor were read; the replica also listens there as soon as it is free.',
    ],
    TENURE_SUPERVISOR: [
      'The file in which `tenure up` names its processes; a replica that it does not name ends itself.',
    ],
  },
}

/** Variables of `packages/embedded`, which the set-up also reads. */
export const setUp: Meanings = {
  TEMPORAL_CLI: [
    "Temporal's command, which is also its development server.",
    '`temporal` on the PATH, else one that is built',
  ],
}
