/** What each variable is for, and its default where that is no fixed value. `configuration.ts` holds the rest to the code. */

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
const mirrors = 'Other systems that are told of trainings, versions and releases'
const people = 'Signing in with an identity provider'
const inside = 'Set by `tenure up`'

export const variables: Readonly<Record<string, Variable>> = {
  DATABASE_URL: {
    group: servers,
    otherwise: 'an embedded Postgres 18',
    meaning: 'Where the truth is kept. The processes need a role that may not change the audit.',
  },
  TENURE_OWNER_DATABASE_URL: {
    group: servers,
    otherwise: 'the role of `DATABASE_URL`',
    meaning: 'Who owns the tables and migrates them.',
  },
  TEMPORAL_ADDRESS: {
    group: servers,
    otherwise: 'an embedded development server',
    meaning: 'Host and port of the Temporal frontend.',
  },
  TEMPORAL_NAMESPACE: { group: servers, otherwise: '`default`', meaning: 'The namespace of the workflows.' },
  TEMPORAL_API_KEY: { group: servers, meaning: 'The key of Temporal Cloud.' },
  TEMPORAL_TLS: { group: servers, meaning: 'Whether the connection is encrypted; with a key it is.' },
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
  TEMPORAL_TLS_DISABLE_HOST_VERIFICATION: { group: servers, meaning: 'Whether that name is left unchecked.' },
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
    meaning: 'Whether a signal with a bare name is believed.',
  },
  TENURE_BATCHES: {
    group: here,
    otherwise: '`$TENURE_STATE/batches`',
    meaning: 'The files of batch predictions lie below it.',
  },
  TENURE_ALERT_CHANNELS: {
    group: here,
    otherwise: '`$TENURE_STATE/alert-channels.json`',
    meaning: 'Who is told of alerts; read anew each time.',
  },
  TENURE_RUNBOOKS: {
    group: here,
    otherwise: '`docs/runbooks` in the checkout',
    meaning: 'Where the pages are that alerts lead to: a directory or an address.',
  },
  TENURE_CACHE: {
    group: here,
    otherwise: '`~/.cache/tenure`',
    meaning: 'What is fetched or built once: the TensorFlow library, the Temporal server.',
  },
  LOG_LEVEL: { group: here, meaning: 'The least important lines that are written.' },

  TENURE_HOST: { group: api, meaning: 'Where the API listens.' },
  TENURE_PORT: { group: api, meaning: 'Its port; `0` takes a free one.' },
  TENURE_PUBLIC_PREDICTIONS: { group: api, meaning: '`on`: predictions and outcomes need no key.' },
  TENURE_PREDICTION_LOG: {
    group: api,
    meaning: '`durable`: an answer leaves after its row is committed, or as 503 within about a second.',
  },
  TENURE_PREDICTION_CACHE: {
    group: api,
    meaning: 'Answers remembered by exact row and version, of models that are not compiled.',
  },
  TENURE_FAST_PATH: {
    group: api,
    meaning:
      '`off`: Node’s HTTP server parses every request, also predictions. Slower; see `api/transport/README.md`.',
  },
  TENURE_REPLICA_LEASE_MS: {
    group: api,
    meaning:
      'How long a replica may follow its route without the database; then it answers with proven versions alone.',
  },
  TENURE_DRILLS: { group: api, meaning: '`on`: faults may be switched on for a version.' },

  TENURE_KEEP_PREDICTIONS_DAYS: {
    group: keeping,
    meaning: 'Older predictions are dropped, whole days at a time, with all that belongs to them.',
  },
  TENURE_KEEP_JUDGEMENTS_DAYS: { group: keeping, meaning: 'The same for what was judged.' },
  TENURE_KEEP_ERASED_SNAPSHOTS_DAYS: {
    group: keeping,
    meaning: 'How long a snapshot that holds an erased person is kept; `0` removes it within the hour.',
  },
  TENURE_KEEP_ARTIFACTS_MB: {
    group: keeping,
    meaning:
      'How many MiB of artifacts and snapshots are kept. Beyond it the oldest go that nothing needs: first snapshots without a model, candidates that came to nothing, versions that were never released, then old champions.',
  },

  TENURE_OIDC_ISSUER: {
    group: people,
    meaning: 'The issuer of an OpenID Connect provider; without it people sign in with keys alone.',
  },
  TENURE_OIDC_CLIENT_ID: { group: people, meaning: 'What Tenure is called there.' },
  TENURE_OIDC_CLIENT_SECRET: { group: people, meaning: 'Its secret; none for a public client.' },
  TENURE_OIDC_REDIRECT: {
    group: people,
    meaning: 'The address of `/sign-in/callback` as browsers reach it.',
  },
  TENURE_OIDC_NAME_CLAIM: {
    group: people,
    otherwise: '`email`',
    meaning: 'The claim that names a person; with `sso.` before it that is the name in the audit.',
  },
  TENURE_OIDC_ROLE_CLAIM: {
    group: people,
    otherwise: '`groups`',
    meaning: 'The claim that roles follow from.',
  },
  TENURE_OIDC_ROLES: {
    group: people,
    meaning:
      'What the claim holds and the role here, such as `ml-approvers=approver,everybody=viewer`; the first that fits counts.',
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
  TENURE_MAX_WORKFLOWS: { group: worker, meaning: 'At once, for each control worker.' },
  TENURE_MAX_ACTIVITIES: { group: worker, meaning: 'At once, for each control worker.' },
  TENURE_TRAINING_MEMORY_MB: {
    group: worker,
    otherwise: 'as much as there is',
    meaning:
      'How many MiB the process of a training or an evaluation may take; it is refused more, tried three times, and told.',
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
    meaning: 'The API that the commands speak to.',
  },
  TENURE_KEY: { group: command, otherwise: 'the key of this machine', meaning: 'Who asks.' },
  TENURE_POSTGRES_PORT: {
    group: command,
    meaning: 'Where the embedded Postgres listens; a taken port is replaced by a free one.',
  },
  TENURE_TEMPORAL_PORT: { group: command, meaning: 'The same for the embedded Temporal.' },
  TENURE_TEMPORAL_UI_PORT: { group: command, meaning: 'The same for its user interface.' },

  TENURE_REPLICA: {
    group: inside,
    otherwise: '`1`',
    meaning: 'Which of the API processes on this machine it is.',
  },
  TENURE_SHARED_FD: { group: inside, meaning: 'The open file that is the port it shares with the others.' },
}

/** Read before anything is installed, so by the set-up itself. */
export const setUp: readonly { name: string; otherwise: string; meaning: string }[] = [
  {
    name: 'TEMPORAL_CLI',
    otherwise: '`temporal` on the PATH, else one that is built',
    meaning: "Temporal's command, which is also its development server.",
  },
]
